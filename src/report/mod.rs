//! store → ReportModel → text. A pure function of (database, config, as_of, templates, version). Does not know net.
