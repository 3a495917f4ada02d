//! Lines of metrics -> an event file that TensorBoard reads.
//!
//! The format is that of TensorFlow's record files: `u64` length, masked CRC-32C of the length, a serialized `Event`,
//! masked CRC-32C of it, all little-endian (`tensorflow/core/lib/io/record_writer.h`, `core/util/event.proto`). Every
//! number of a line becomes a scalar, `loss` of a training step the tag `train/loss`.

use std::io::{self, Write};
use std::path::Path;

use fs_err as fs;
use prost::{Message, Oneof};

use crate::metrics::Line;

/// What the first event says of the format; readers look for it.
const FILE_VERSION: &str = "brain.Event:2";

/// An event file that is being written.
#[derive(Debug)]
pub struct EventFile {
    file: io::BufWriter<fs::File>,
}

impl EventFile {
    /// Begins the file of a run that started at this Unix time: `events.out.tfevents.<seconds>.<name>` in the folder.
    ///
    /// Other event files in the folder are removed: the lines of an earlier part of the run are written again, and
    /// TensorBoard would show them twice.
    pub fn create(folder: &Path, started: f64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            if name.is_some_and(|name| name.starts_with("events.out.tfevents.")) {
                fs::remove_file(path)?;
            }
        }
        let path = folder.join(format!("events.out.tfevents.{started:.0}.trainer"));
        let file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        let mut this = Self { file: io::BufWriter::new(file) };
        let what = What::FileVersion(FILE_VERSION.to_string());
        this.event(Event { wall_time: started, step: 0, what: Some(what) })?;
        Ok(this)
    }

    /// Writes the numbers of a line.
    pub fn line(&mut self, line: &Line) -> io::Result<()> {
        #[expect(clippy::cast_possible_truncation, reason = "TensorBoard's scalars are `f32`")]
        let values = line
            .scalars()
            .into_iter()
            .map(|(tag, number)| Value { tag, content: Some(Content::SimpleValue(number as f32)) });
        let what = What::Summary(Summary { value: values.collect() });
        let step = i64::try_from(line.step()).unwrap_or(i64::MAX);
        self.event(Event { wall_time: line.time(), step, what: Some(what) })
    }

    /// Brings what was written to the file, where TensorBoard finds it.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn event(&mut self, event: Event) -> io::Result<()> {
        let data = event.encode_to_vec();
        let length = (data.len() as u64).to_le_bytes();
        self.file.write_all(&length)?;
        self.file.write_all(&masked_crc(&length).to_le_bytes())?;
        self.file.write_all(&data)?;
        self.file.write_all(&masked_crc(&data).to_le_bytes())
    }
}

/// The checksum as the record format stores it: rotated and shifted, so that a checksum of data that holds checksums
/// stays a good one (`tensorflow/core/lib/hash/crc32c.h`).
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// `tensorflow.Event`.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

/// `tensorflow.Summary`.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

/// `tensorflow.Summary.Value` with a plain number.
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(oneof = "Content", tags = "2")]
    content: Option<Content>,
}

/// A choice in the format, so that a 0 is written like any other number.
#[derive(Clone, PartialEq, Oneof)]
enum Content {
    #[prost(float, tag = "2")]
    SimpleValue(f32),
}
