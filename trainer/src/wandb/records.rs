//! The records of a `.wandb` file: the part of wandb's `wandb_internal.proto` that a run needs. Field numbers are its.

use prost::{Message, Oneof};
use serde_json::Value;

use crate::config::WandbConfig;

/// The oldest wandb that may read the file; wandb writes the same.
const MIN_CONSUMER: &str = "0.70.0";

/// One record: its number, from 1, and what it is.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Record {
    #[prost(int64, tag = "1")]
    num: i64,
    #[prost(oneof = "Kind", tags = "2, 3, 17, 18, 21")]
    kind: Option<Kind>,
    #[prost(message, optional, tag = "200")]
    info: Option<RecordInfo>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Kind {
    #[prost(message, tag = "2")]
    History(History),
    #[prost(message, tag = "3")]
    Summary(Updates),
    #[prost(message, tag = "17")]
    Run(Run),
    #[prost(message, tag = "18")]
    Exit(Exit),
    #[prost(message, tag = "21")]
    Header(Header),
}

impl Record {
    pub(super) fn new(num: i64, kind: Kind, id: &str) -> Self {
        Self { num, kind: Some(kind), info: Some(RecordInfo { stream_id: id.to_string() }) }
    }
}

/// The first record.
pub(super) fn header() -> Kind {
    let producer = concat!("trainer ", env!("CARGO_PKG_VERSION")).to_string();
    let version_info = VersionInfo { producer, min_consumer: MIN_CONSUMER.to_string() };
    Kind::Header(Header { version_info: Some(version_info) })
}

/// What the run is called and configured as.
pub(super) fn run(
    id: &str,
    settings: &WandbConfig,
    name: &str,
    config: &Value,
    started: f64,
) -> Kind {
    let items = config.as_object().into_iter().flatten();
    let update = items.map(|(key, value)| Item { key: key.clone(), ..Item::of(value) }).collect();
    Kind::Run(Run {
        run_id: id.to_string(),
        entity: settings.entity.clone().unwrap_or_default(),
        project: settings.project.clone(),
        config: Some(Updates { update }),
        run_group: settings.group.clone().unwrap_or_default(),
        job_type: "sft".to_string(),
        display_name: settings.name.clone().unwrap_or_else(|| name.to_string()),
        notes: settings.notes.clone().unwrap_or_default(),
        tags: settings.tags.clone(),
        start_time: Some(Timestamp::of(started)),
    })
}

/// A line of the history: the numbers of a step.
pub(super) fn history(step: u64, numbers: &[(String, f64)]) -> Kind {
    let mut item: Vec<Item> = numbers.iter().map(Item::nested).collect();
    item.push(Item::nested_value("_step", &Value::from(step)));
    let num = i64::try_from(step).unwrap_or(i64::MAX);
    Kind::History(History { item, step: Some(Step { num }) })
}

/// What changed in the summary.
pub(super) fn summary(step: u64, numbers: &[(String, f64)]) -> Kind {
    let mut update: Vec<Item> = numbers.iter().map(Item::nested).collect();
    update.push(Item::nested_value("_step", &Value::from(step)));
    Kind::Summary(Updates { update })
}

/// The last record.
pub(super) fn exit(exit_code: u8, seconds: f64) -> Kind {
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
    let runtime = seconds as i32;
    Kind::Exit(Exit { exit_code: i32::from(exit_code), runtime })
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RecordInfo {
    #[prost(string, tag = "1")]
    stream_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Header {
    #[prost(message, optional, tag = "1")]
    version_info: Option<VersionInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VersionInfo {
    #[prost(string, tag = "1")]
    producer: String,
    #[prost(string, tag = "2")]
    min_consumer: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Run {
    #[prost(string, tag = "1")]
    run_id: String,
    #[prost(string, tag = "2")]
    entity: String,
    #[prost(string, tag = "3")]
    project: String,
    #[prost(message, optional, tag = "4")]
    config: Option<Updates>,
    #[prost(string, tag = "6")]
    run_group: String,
    #[prost(string, tag = "7")]
    job_type: String,
    #[prost(string, tag = "8")]
    display_name: String,
    #[prost(string, tag = "9")]
    notes: String,
    #[prost(string, repeated, tag = "10")]
    tags: Vec<String>,
    #[prost(message, optional, tag = "17")]
    start_time: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Exit {
    #[prost(int32, tag = "1")]
    exit_code: i32,
    #[prost(int32, tag = "2")]
    runtime: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct History {
    #[prost(message, repeated, tag = "1")]
    item: Vec<Item>,
    #[prost(message, optional, tag = "2")]
    step: Option<Step>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Step {
    #[prost(int64, tag = "1")]
    num: i64,
}

/// `ConfigRecord` and `SummaryRecord`: both are a list of changed values.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Updates {
    #[prost(message, repeated, tag = "1")]
    update: Vec<Item>,
}

/// `ConfigItem`, `SummaryItem`, `HistoryItem`: a key, or a path of keys, and a value as JSON.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Item {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, repeated, tag = "2")]
    nested_key: Vec<String>,
    #[prost(string, tag = "16")]
    value_json: String,
}

impl Item {
    fn of(value: &Value) -> Self {
        Self { key: String::new(), nested_key: Vec::new(), value_json: value.to_string() }
    }

    /// As wandb writes history and summary: a path of one key.
    fn nested((key, number): &(String, f64)) -> Self {
        Self::nested_value(key, &Value::from(*number))
    }

    fn nested_value(key: &str, value: &Value) -> Self {
        Self { nested_key: vec![key.to_string()], ..Self::of(value) }
    }
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Timestamp {
    #[expect(clippy::cast_possible_truncation, reason = "split into whole seconds and the rest")]
    fn of(unix: f64) -> Self {
        Self { seconds: unix as i64, nanos: (unix.fract() * 1e9) as i32 }
    }
}
