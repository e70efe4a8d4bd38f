//! Series → SVG: one look for report, mail, launch room, terminal.
