//! Series that come together again and again, such as those of a scrape.

use std::sync::{Arc, Mutex, PoisonError};

use super::{LabelledSample, Labels, Sample};

/// Series in the order in which they come each time. A store notes in it where it keeps them, so that it need not look for
/// them by their labels.
#[derive(Debug, Default)]
pub struct Roster {
    series: Vec<Labels>,
    places: Mutex<Option<(u64, Places)>>,
}

/// For each series of a roster where it is, in numbers that only the store understands.
pub type Places = Arc<Vec<(u32, u32)>>;

impl Roster {
    pub fn new(series: Vec<Labels>) -> Roster {
        Roster { series, places: Mutex::default() }
    }
    pub fn series(&self) -> &[Labels] {
        &self.series
    }
    /// What `owner` noted last; none when somebody else did.
    pub fn places(&self, owner: u64) -> Option<Places> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.as_ref().filter(|(by, _)| *by == owner).map(|(_, places)| places.clone())
    }
    /// `None`: what was noted is wrong by now.
    pub fn note(&self, owner: u64, places: Option<Places>) {
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = places.map(|places| (owner, places));
    }
}

/// One sample of each series of a roster, in its order.
#[derive(Debug, Clone, Default)]
pub struct Round {
    pub roster: Arc<Roster>,
    pub samples: Vec<Sample>,
}

impl Round {
    pub fn iter(&self) -> impl Iterator<Item = (&Labels, Sample)> {
        self.roster.series.iter().zip(self.samples.iter().copied())
    }
    /// Each sample with its labels.
    pub fn listed(&self) -> impl Iterator<Item = LabelledSample> {
        self.iter().map(|(labels, sample)| LabelledSample { labels: labels.clone(), sample })
    }
}
