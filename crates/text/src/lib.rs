//! Text: conversations to turns, turns to token ids, and ids back to text.
//!
//! The modules stand in the order in which the data passes them; each uses only those above it.

pub mod conversation; // what every source makes
pub mod chatml; // conversation -> turns with roles
mod error; // what can be wrong with a tokenizer's files
mod special; // strings that become one id wherever they stand
mod model; // a SentencePiece model, read and checked
mod queue; // text -> ids, the general path
mod rules; // which symbols merge, as numbers
mod scan; // merging a short text
mod learn; // model -> rules
mod cuts; // where a text may be cut before it is encoded
mod blank_runs; // one more cut, within indentation
mod seams; // merging a long text, window by window
mod part_cache; // the ids of parts met before
mod part_encoder; // text -> ids, the fast path
mod tokenizer_json; // a model as Hugging Face's file
mod hugging_face; // text -> ids through a tokenizer.json
mod decode; // ids -> text
pub mod tokenizer; // the door: text <-> ids

pub use crate::chatml::{Segment, prompt, segments};
pub use crate::conversation::{Conversation, Message};
pub use crate::error::Error;
pub use crate::tokenizer::{Decoder, Encoder, Tokenizer};
