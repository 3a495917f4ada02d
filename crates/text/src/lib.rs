//! Text: conversations to turns, turns to token ids, and ids back to text.
//!
//! ```text
//! Conversation --chatml, or template--> text with roles --ends--> ids with roles
//! Conversation --chatml--> Segment { role, text } --special--> stretches without special strings
//!     --cuts--> parts --part_cache, else scan or seams--> ids --decode--> text
//! ```
//!
//! # An exact encoder that looks up instead of merging
//! Llama's tokenizers have no pre-tokenization step, so SentencePiece sends a whole text through one queue of merges. Here a
//! text is cut first, where no merge can cross (`cuts`, `blank_runs`), and since the parts are short and repeat, most are
//! found in a table (`part_cache`). The ids are SentencePiece's, by proofs that stand in the modules, by random
//! vocabularies and strings in the tests, by digests over all of `../shared/data`, and by `scripts/encode/fuzz.py`: ten
//! million strings, half a million for each of the seeds 301 to 310 with Llama-2 and 401 to 410 with CodeLlama. The
//! premises are checked when a model is loaded; where one fails, `queue` encodes ([`Tokenizer::slow_because`] says why).
//!
//! `scripts/bench encode` measures against SentencePiece and the `tokenizers` library on the same documents, and with
//! `--hostile` on ten megabytes without a place to cut.
//!
//! ## What was tried
//! `../shared/reference/exact-encoder.md` tells of the experiments before this code: the way of merging new parts and the
//! cache gave most; binary heaps lose to a scan over a small array, and stronger cuts and 512-bit registers give little.
//! Since then, the same documents, old and new in turn, Llama-2:
//!
//! | change | effect |
//! |---|---|
//! | the phases in loops of their own, a fixed array between them, ids put eight lanes at a time into room made once a stretch, cuts by constant shifts | 27 % fewer instructions on chat; 1.2x, cold |
//! | cache lines asked for in the first phase (the crate's one `unsafe`) | 1.1x to 1.2x, cold |
//! | `▁` searched with `memchr`, not the standard library | 10 % of the time before, 1 % after |
//! | parts of one or two bytes joined to their neighbours | 10 % fewer look-ups but up to 20 % more new parts: a loss |
//! | new parts as the longest pieces that stay apart, with backtracking, instead of merging | 0.75x on UDHR: it visits more memory; taken back |
//! | AVX2 for the least of the possible merges | nothing; taken back |
//! | pairs in a table where each has two places: both are read, and one is chosen without a branch | new parts 1.2x (many languages) to 1.35x (random letters) |
//! | symbols numbered by bytes, with a border at each end, so that nothing is out of bounds and no end is special; the crate compiled as one unit | 30 % fewer instructions for a new part, 8 % on all of chat |
//! | pairs of pieces whose seam held are remembered, some thousands instead of the last one | a third fewer seams to try |
//! | four new parts merged in step, so that one waits for memory while another goes on | nothing on chat, 0.75x on short documents; taken back |
//! | a small table of pairs met before in front of the large one | 0.85x on a line without blanks: a wrong guess costs as much as the wait; taken back |
//! | windows of 24 bytes instead of 48 for long parts | 0.85x on a line without blanks; taken back |
//! | the merges of two characters that are sure to come, at once, and the least of the others as a float: one instruction instead of six | all of chat 1.1x, many languages and random letters 1.2x, a line without blanks 1.45x |
//! | the same for all symbols, round after round | a fifth to a tenth of the merges is left, but the table of what is known of each pair outgrows the second cache: 0.8x; taken back |
//! | two parts of 16 to 64 bytes merged in step, after the first round | 1.02x on a line without blanks; taken back |
//!
//! The modules stand in the order in which the data passes them; each uses only those above it.

pub mod conversation; // what every source makes
pub mod chatml; // conversation -> turns with roles
mod marks; // marks that go through a template with the messages
mod python_json; // JSON as Python writes it
mod jinja; // Jinja as transformers runs it
mod template_file; // where a chat template stands
mod template; // conversation -> text, and who speaks in each part of it
mod error; // what can be wrong with a tokenizer's files
mod special; // strings that become one id wherever they stand
mod model; // a SentencePiece model, read and checked
mod queue; // text -> ids, the general path
mod rules; // which symbols merge, as numbers
mod first_round; // the merges that are sure to come
mod scan; // merging a short text
mod learn; // model -> rules
mod cuts; // where a text may be cut before it is encoded
mod blank_form; // a text as the fast path reads it
mod blank_runs; // one more cut, within indentation
mod seams; // merging a long text, window by window
mod part_cache; // the ids of parts met before
mod parting; // text -> parts, and where their ids would be
mod part_encoder; // text -> ids, the fast path
mod tokenizer_json; // a model as Hugging Face's file
mod hugging_face; // text -> ids through a tokenizer.json
mod ends; // ids -> where in the text each ends, and whose it is
mod decode; // ids -> text
pub mod tokenizer; // the door: text <-> ids
mod reopen; // a file and the special tokens that shards name -> their tokenizer

pub use crate::chatml::{Segment, prompt, segments};
pub use crate::conversation::{Conversation, Message};
pub use crate::error::Error;
pub use crate::jinja::Refusal;
pub use crate::template::{ChatTemplate, Header, Rendered, Template, Turn};
pub use crate::template_file::{TemplateError, TemplateFile};
pub use crate::tokenizer::{Decoder, Encoder, Tokenizer};
