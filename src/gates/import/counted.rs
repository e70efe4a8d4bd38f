//! What a report's writer counted itself, held against the lines that were read. Most writers say both, so a report that
//! was damaged on its way contradicts itself in a place or two; one that does so nearly everywhere counts in another way,
//! and then its own count stands.

use super::{Coverage, ImportError, Tally};

/// The counts of one report, file by file.
#[derive(Debug, Default)]
pub struct Counts {
    seen: usize,
    /// File, its writer's count, and the lines found.
    against: Vec<(String, Tally, Tally)>,
}

/// Fewer files show no habit.
const HABIT_FILES_MIN: usize = 3;

impl Counts {
    pub fn add(&mut self, file: &str, own: Tally, read: Tally) {
        self.seen += 1;
        if own != read {
            self.against.push((file.to_string(), own, read));
        }
    }

    /// Takes the writer's counts over where it is its habit, and refuses a report where it is not.
    pub fn settle(self, report: &mut Coverage) -> Result<(), ImportError> {
        let habit = self.seen >= HABIT_FILES_MIN && self.against.len() * 2 > self.seen;
        if let Some((file, own, read)) = self.against.first().filter(|_| !habit) {
            return Err(damaged(file, *own, *read));
        }
        for (file, own, _) in self.against {
            if own.covered > own.total {
                return Err(damaged(&file, own, Tally { covered: own.total, total: own.total }));
            }
            report.tallies.insert(file, own);
        }
        Ok(())
    }
}

pub fn damaged(file: &str, own: Tally, read: Tally) -> ImportError {
    let file: String = file.chars().filter(|c| !c.is_control()).take(200).collect();
    let of = |t: Tally| format!("{} of {}", t.covered, t.total);
    ImportError::Damaged(format!("of {file} it counts {} lines and lists {}", of(own), of(read)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(rows: &[(u64, u64)]) -> Result<Coverage, ImportError> {
        let (mut counts, mut report) = (Counts::default(), Coverage::default());
        for (i, (own, read)) in rows.iter().enumerate() {
            let tally = |covered| Tally { covered, total: 9 };
            counts.add(&format!("f{i}"), tally(*own), tally(*read));
        }
        counts.settle(&mut report).map(|()| report)
    }

    #[test]
    fn one_in_many_is_damage_and_most_of_them_a_habit() {
        assert!(settle(&[(1, 1), (2, 2), (3, 3)]).unwrap().tallies.is_empty());
        let error = settle(&[(1, 1), (2, 3), (3, 3)]).unwrap_err();
        assert_eq!(error.to_string(), "damaged: of f1 it counts 2 of 9 lines and lists 3 of 9");
        assert!(settle(&[(1, 2)]).is_err());
        assert_eq!(settle(&[(1, 2), (2, 3), (3, 3)]).unwrap().tallies.len(), 2);
        assert!(settle(&[(10, 2), (2, 3), (3, 3)]).is_err());
    }
}
