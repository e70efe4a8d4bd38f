//! Outbox → the world. Claims rows, renders them for their channel, sends, settles; never loses a message.

pub mod channel;
