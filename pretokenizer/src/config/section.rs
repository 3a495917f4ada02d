//! One section of a configuration file, and how sections and flags lie over each other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::choices::{OnError, SpecialTokensInText, TooLong};
use crate::config::entry::Entry;
use crate::config::key::Key;
use crate::config::near_duplicates::RemoveNearDuplicates;

macro_rules! section {
    ($($(#[doc = $doc:literal])* $key:ident: $type:ty,)*) => {
        /// A named group of keys; a run uses `defaults` and the sections that the user names, each over the former.
        #[derive(Debug, Clone, Default, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Section {
            /// The datasets, in the order of the output.
            #[serde(skip_serializing_if = "Key::is_absent")]
            pub datasets: Key<Vec<Entry>>,
            /// More datasets, behind those.
            #[serde(skip_serializing_if = "Key::is_absent")]
            pub datasets_extra: Key<Vec<Entry>>,
            $($(#[doc = $doc])* #[serde(skip_serializing_if = "Key::is_absent")] pub $key: Key<$type>,)*
        }

        /// The keys that a flag can override: the flag, the flag that takes the value away, what it is about.
        pub const OVERRIDABLE: &[(&str, &str, &str)] =
            &[$((stringify!($key), concat!("no-", stringify!($key)), concat!($($doc),*)),)*];

        impl Section {
            /// Lays another section over this one: each of its keys replaces the whole value.
            pub fn overlay(&mut self, over: &Self) {
                if !over.datasets.is_absent() {
                    self.datasets = over.datasets.clone();
                }
                if !over.datasets_extra.is_absent() {
                    self.datasets_extra = over.datasets_extra.clone();
                }
                $(if !over.$key.is_absent() {
                    self.$key = over.$key.clone();
                })*
            }

            /// Sets a key from a flag; `None` is `--no-KEY`. The message says what the key expects.
            pub fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
                match key {
                    $(stringify!($key) => {
                        self.$key = match value {
                            None => Key::Null,
                            Some(text) => Key::Set(<$type>::from_flag(text)?),
                        };
                    })*
                    other => unreachable!("no flag is made for the key `{other}`"),
                }
                Ok(())
            }

            /// All datasets, the extra ones last.
            pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
                let entries = [&mut self.datasets, &mut self.datasets_extra];
                entries.into_iter().filter_map(|key| match key {
                    Key::Set(entries) => Some(entries),
                    _ => None,
                }).flatten()
            }
        }
    };
}

section! {
    /// Seed of Python's and numpy's global random streams, and of sub-sampling.
    rng_seed: u32,
    /// The folder with local files.
    cache_dir: String,
    /// At most so many validation rows per dataset, the first ones.
    eval_size: usize,
    /// `SentencePieceTokenizer`, `HuggingFaceTokenizer` or `FalconTokenizer`.
    tokenizer_type: String,
    /// The tokenizer's file.
    vocab_file: String,
    /// Special tokens to add, with commas between.
    vocab_extra_ids_list: String,
    /// More special tokens to add, as a list.
    extra_tokens: List,
    /// `chatml`, or where a Jinja template is: a `.jinja` file, a `tokenizer_config.json`, a model's folder.
    chat_template: String,
    /// Which of several templates.
    chat_template_name: String,
    /// The day that a template may write, as YYYY-MM-DD.
    chat_template_date: String,
    /// Variables for the template, such as `{enable_thinking: false}`.
    chat_template_variables: Variables,
    /// `trained` or `untrained`: what opens an assistant's turn.
    assistant_header: String,
    /// `stop` or `skip`: what to do with a conversation that the template refuses.
    on_template_error: String,
    /// `keep`, `escape` or `refuse`: strings of special tokens in a text become these tokens, stay text, or stop the run.
    special_tokens_in_text: SpecialTokensInText,
    /// `stop` or `skip`: what to do with a row that cannot be read.
    on_error: OnError,
    /// `mmap`: the format of the shards; any other word: the older one, which Megatron calls lazy or cached.
    dataset_impl: String,
    /// Conversations with fewer assistant tokens are left out.
    min_assistant_tokens: usize,
    /// Documents of more tokens are too long.
    max_tokens: usize,
    /// `drop` or `truncate`: what to do with documents of more than `max_tokens`.
    too_long: TooLong,
    /// Conversations that stand earlier in the same split are left out, whatever source they are from.
    remove_duplicates: bool,
    /// Conversations that are much like one that stands earlier in the same split are left out: `true`, or keys for MinHash such as `{threshold: 0.8, num_perm: 128, ngram: 5}`.
    remove_near_duplicates: RemoveNearDuplicates,
    /// Conversations of `train` that stand in `val` are left out.
    remove_train_in_val: bool,
    /// The folder to write.
    output_dir: String,
    /// What is appended to `output_dir`.
    output_dir_suffix: String,
    /// What the names of the shards begin with.
    filename_prefix: String,
    /// Known to the reference, and read by neither program.
    use_system_prefix: bool,
    /// Also write the text of each conversation, as JSON lines.
    write_json: bool,
    /// Also pack the folder into `<output_dir>.tar.gz`.
    compress: bool,
}

/// A value that a flag can give.
trait FromFlag: Sized {
    fn from_flag(text: &str) -> Result<Self, String>;
}

impl FromFlag for String {
    fn from_flag(text: &str) -> Result<Self, String> {
        Ok(text.to_string())
    }
}

/// Texts; a flag has commas between them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct List(pub Vec<String>);

impl FromFlag for List {
    fn from_flag(text: &str) -> Result<Self, String> {
        Ok(Self(text.split(',').map(String::from).collect()))
    }
}

impl FromFlag for SpecialTokensInText {
    fn from_flag(text: &str) -> Result<Self, String> {
        Self::named(text)
    }
}

impl FromFlag for TooLong {
    fn from_flag(text: &str) -> Result<Self, String> {
        Self::named(text)
    }
}

impl FromFlag for OnError {
    fn from_flag(text: &str) -> Result<Self, String> {
        Self::named(text)
    }
}

/// Values by name; a flag gives them as a JSON object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Variables(pub BTreeMap<String, serde_json::Value>);

impl FromFlag for Variables {
    fn from_flag(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("no JSON object: {error}"))
    }
}

impl FromFlag for RemoveNearDuplicates {
    fn from_flag(text: &str) -> Result<Self, String> {
        if text.trim_start().starts_with('{') {
            return serde_json::from_str(text).map_err(|error| error.to_string());
        }
        bool::from_flag(text).map(Self::On)
    }
}

impl FromFlag for u32 {
    fn from_flag(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("`{text}` is no whole number from 0 to {}", u32::MAX))
    }
}

impl FromFlag for usize {
    fn from_flag(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("`{text}` is no whole number from 0 on"))
    }
}

impl FromFlag for bool {
    /// As `distutils.util.strtobool` reads it, which the reference uses.
    fn from_flag(text: &str) -> Result<Self, String> {
        match text.to_lowercase().as_str() {
            "y" | "yes" | "t" | "true" | "on" | "1" => Ok(true),
            "n" | "no" | "f" | "false" | "off" | "0" => Ok(false),
            _ => Err(format!("`{text}` is neither yes nor no")),
        }
    }
}
