//! Reads, evaluates, records transitions and notifications together. The only impure file of this room.
