//! The text protocol, both directions: example → conversation → segments → tokens with their loss mask, and
//! answer → entities. Training and inference call the same functions, so they cannot drift apart.

pub mod conversation;

pub use conversation::{Conversation, Message, Role, Segment, Tokens};
