//! The keys that each dataset takes.
//!
//! Every dataset also takes the keys of [`Mixing`]. `flatten` would accept unknown keys in silence, so a macro writes
//! those keys into each struct.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::config::key::{FileNames, Key, Languages, ValSplit};

/// The keys that every dataset takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixing {
    /// Share of the train rows to use; it wins over `size`.
    pub fraction: Option<f64>,
    /// Number of train rows to use.
    pub size: Option<u64>,
    /// How much goes to validation; 0.2 where it is not said.
    pub val_split: Key<ValSplit>,
    /// At most so many validation rows.
    pub max_val_set: Option<usize>,
    /// Where local files are looked for; `cache_dir` where it is not said.
    pub data_path: Option<String>,
}

/// A key of which null says something else than absence.
fn even_null<'de, D, T>(value: D) -> Result<Option<Key<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Key::deserialize(value).map(Some)
}

macro_rules! sources {
    ($($(#[$doc:meta])* $name:ident { $($(#[$key_doc:meta])* $key:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
            #[serde(deny_unknown_fields, default)]
            pub struct $name {
                /// Share of the train rows to use; it wins over `size`.
                #[serde(skip_serializing_if = "Option::is_none")]
                pub fraction: Option<f64>,
                /// Number of train rows to use.
                #[serde(skip_serializing_if = "Option::is_none")]
                pub size: Option<u64>,
                /// How much goes to validation.
                #[serde(skip_serializing_if = "Key::is_absent")]
                pub val_split: Key<ValSplit>,
                /// At most so many validation rows.
                #[serde(skip_serializing_if = "Option::is_none")]
                pub max_val_set: Option<usize>,
                /// Where local files are looked for.
                #[serde(skip_serializing_if = "Option::is_none")]
                pub data_path: Option<String>,
                $($(#[$key_doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $key: Option<$type>,)*
            }
        )*

        /// A dataset's keys, by the kind of its loader.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Source {
            $($(#[$doc])* $name($name),)*
        }

        impl Source {
            /// Reads the keys of a dataset; null means none.
            pub(crate) fn read<'de, D>(kind: Kind, keys: D) -> Result<Self, D::Error>
            where
                D: Deserializer<'de>,
            {
                match kind {
                    $(Kind::$name => Ok(Self::$name(Option::deserialize(keys)?.unwrap_or_default())),)*
                }
            }

            /// The keys of a dataset that is given by its name alone.
            #[must_use]
            pub(crate) fn without_keys(kind: Kind) -> Self {
                match kind {
                    $(Kind::$name => Self::$name($name::default()),)*
                }
            }

            /// The name that the datamix gives the source, where its kind asks for one.
            #[must_use]
            pub fn given_name(&self) -> Option<&str> {
                match self {
                    Self::Messages(keys) => keys.name.as_deref(),
                    Self::PromptResponse(keys) => keys.name.as_deref(),
                    Self::Text(keys) => keys.name.as_deref(),
                    _ => None,
                }
            }

            /// The keys that every dataset takes.
            #[must_use]
            pub fn mixing(&self) -> Mixing {
                match self {
                    $(Self::$name(keys) => Mixing {
                        fraction: keys.fraction,
                        size: keys.size,
                        val_split: keys.val_split.clone(),
                        max_val_set: keys.max_val_set,
                        data_path: keys.data_path.clone().filter(|it| !it.is_empty()),
                    },)*
                }
            }
        }

        /// Which struct of keys a name goes with.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($name,)*
        }
    };
}

impl OasstExport {
    /// The file, if one is named.
    #[must_use]
    pub fn input_file(&self) -> Option<&str> {
        self.input_file_path.as_deref().filter(|it| !it.is_empty())
    }
}

sources! {
    /// `orca-chat`.
    OrcaChat {
        /// The dataset's folder; orca-best if it is local, else orca-chat.
        hf_dataset_name: String,
        /// Files of the folder; null: all of its train split.
        #[serde(deserialize_with = "even_null")]
        data_files: Key<FileNames>,
        /// How many samples of a row to use, from the first on; 1, null: all. For the schema with `samples` only.
        #[serde(deserialize_with = "even_null")]
        rows_per_conv: Key<usize>,
        /// Whether the hub is shown a token; that of `HF_TOKEN` is in any case.
        use_auth_token: bool,
    }
    /// `bestofmegacode`.
    BestOfMegacode {
        /// The dataset's folder.
        hf_dataset_name: String,
        /// Files of the folder; null: all of its train split.
        #[serde(deserialize_with = "even_null")]
        data_files: Key<FileNames>,
        /// How many samples of a row to use, from the first on; 1, null: all.
        #[serde(deserialize_with = "even_null")]
        rows_per_conv: Key<usize>,
        /// Whether the hub is shown a token; that of `HF_TOKEN` is in any case.
        use_auth_token: bool,
    }
    /// `oasst_export`.
    OasstExport {
        /// A file of message trees, or of messages; else the dataset.
        input_file_path: String,
        /// The dataset's folder; `OpenAssistant/oasst1`.
        hf_dataset_name: String,
        /// Languages of the trees to use, with commas between; `en`.
        lang: String,
        /// Only answers of a rank below this.
        top_k: i64,
        /// Seed of the split.
        manual_seed: i64,
    }
    /// The instruction datasets: a question and an answer per row.
    Instruction {
        /// The dataset's folder.
        dataset_path: String,
        /// The field with the question.
        instruction_column: String,
        /// The field with the answer.
        response_column: String,
        /// Files of the folder; null: all of its train split.
        #[serde(deserialize_with = "even_null")]
        data_files: Key<FileNames>,
        /// The language; stored by the reference, and never read.
        lang: String,
        /// Rows are joined to one conversation until it has more characters than this.
        fill_min_length: usize,
        /// Seed of the order.
        seed: i64,
    }
    /// `dolphin-mix`.
    DolphinMix {
        /// Files of the folder; null: all of the split.
        #[serde(deserialize_with = "even_null")]
        data_files: Key<FileNames>,
        /// The split to read; `train`.
        split: String,
        /// Seed of the order.
        seed: u64,
        /// How many rows to use, after they are shuffled.
        num_samples: usize,
        /// A conversation ends when it has so many characters; 8000.
        max_char_len: usize,
    }
    /// `alpaca` and `code_alpaca`.
    Alpaca {
        /// Seed of the split.
        manual_seed: i64,
    }
    /// Conversations whose messages are cut: `vicuna`, `wizard_evol_instruct_v2`, `soda`.
    Cut {
        /// The most characters of a message; 32768, null: any number.
        #[serde(deserialize_with = "even_null")]
        input_max_length: Key<usize>,
    }
    /// `oig_file`.
    Oig {
        /// Where the file came from; its last part names the file in `cache_dir`.
        source_url: String,
        /// The folder of the file; `.cache/`.
        cache_dir: String,
        /// Whether to fetch a file that is there again, which only the reference does.
        no_cache: bool,
        /// At most so many conversations.
        max_count: usize,
        /// Conversations are joined until they have so many characters; 1000, null: not at all.
        #[serde(deserialize_with = "even_null")]
        min_length: Key<usize>,
        /// Seed of order and split.
        manual_seed: i64,
    }
    /// `multi-chapter-summaries`.
    Summaries {
        /// The split to read; `train`.
        split: String,
    }
    /// `messages` and `sharegpt`: a list of messages per row.
    Messages {
        /// The name in statistics and messages.
        name: String,
        /// Where the rows are: files, patterns, folders, datasets.
        path: FileNames,
        /// Which configuration of a dataset that has several, by its README.
        config: String,
        /// The split of a folder or dataset; `train`.
        split: String,
        /// The column with the list; `messages`, or `conversations` of `sharegpt`.
        messages: String,
        /// The field that says who speaks; `role`, or `from`.
        role: String,
        /// The field with the text; `content`, or `value`.
        content: String,
        /// What the roles in the file are: `system`, `user`, `assistant`, `context`; or `drop`, for the whole row.
        roles: BTreeMap<String, String>,
        /// The column with a system message.
        system: String,
        /// The system message of rows without one.
        default_system: String,
        /// The column that says the language.
        lang_column: String,
        /// The languages to use: a list, or a text with commas between.
        lang: Languages,
        /// Whether the language is guessed from the text, where no column says it.
        detect_lang: bool,
        /// Only rows with so many messages or more.
        min_messages: usize,
        /// Only rows with so many messages or fewer.
        max_messages: usize,
        /// Only rows with so many characters or more.
        min_chars: usize,
        /// Only rows with so many characters or fewer.
        max_chars: usize,
    }
    /// `instructions`: a question and an answer per row.
    PromptResponse {
        /// The name in statistics and messages.
        name: String,
        /// Where the rows are: files, patterns, folders, datasets.
        path: FileNames,
        /// Which configuration of a dataset that has several, by its README.
        config: String,
        /// The split of a folder or dataset; `train`.
        split: String,
        /// The column with the question; `instruction`.
        prompt: String,
        /// A column with what the question is about.
        input: String,
        /// What stands between the two; an empty line.
        separator: String,
        /// The column with the answer; `output`.
        response: String,
        /// The column with a system message.
        system: String,
        /// The system message of rows without one.
        default_system: String,
        /// The column that says the language.
        lang_column: String,
        /// The languages to use: a list, or a text with commas between.
        lang: Languages,
        /// Whether the language is guessed from the text, where no column says it.
        detect_lang: bool,
        /// Only rows with so many characters or more.
        min_chars: usize,
        /// Only rows with so many characters or fewer.
        max_chars: usize,
    }
    /// `text`: a text per row, for language modelling.
    Text {
        /// The name in statistics and messages.
        name: String,
        /// Where the rows are: files, patterns, folders, datasets.
        path: FileNames,
        /// Which configuration of a dataset that has several, by its README.
        config: String,
        /// The split of a folder or dataset; `train`.
        split: String,
        /// The column with the text; `text`.
        text: String,
        /// The role of all of it; `assistant`, which is trained on.
        role: String,
        /// The column that says the language.
        lang_column: String,
        /// The languages to use: a list, or a text with commas between.
        lang: Languages,
        /// Whether the language is guessed from the text, where no column says it.
        detect_lang: bool,
        /// Only rows with so many characters or more.
        min_chars: usize,
        /// Only rows with so many characters or fewer.
        max_chars: usize,
    }
    /// Plain text for language modelling: `red_pajama`, `fanfics`.
    PlainText {
        /// A text is cut into pieces of so many characters; 65536.
        max_chunk_size: usize,
    }
    /// Questions and answers without keys of their own: `squad_v2`, `wikihow` and their like.
    Questions {}
    /// Texts and summaries without keys of their own: `xsum` and its like.
    Summary {}
    /// Other datasets without keys of their own.
    Plain {}
    /// Datasets of the reference that this program does not read: any key is taken, and the name is refused on use.
    NotSupported {}
}
