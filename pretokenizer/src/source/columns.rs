//! Parquet and arrow (file and stream) -> one JSON value per row.
//!
//! A row becomes the JSON object that the same row has in a JSON file, so that loaders know one kind of row only.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, LargeListArray, ListArray, RecordBatch, StructArray,
};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::DataType;
use cli::exit;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde_json::{Map, Value};

use crate::scratch::Scratch;
use crate::source::content::Content;

/// Rows of a batch, where the file leaves the choice.
const BATCH: usize = 256;

/// What a file's first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A parquet file.
    Parquet,
    /// An arrow file.
    ArrowFile,
    /// An arrow stream.
    ArrowStream,
}

impl Kind {
    /// Which table it is; `None` if it is something else.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Self> {
        if head.starts_with(b"PAR1") {
            Some(Self::Parquet)
        } else if head.starts_with(b"ARROW1") {
            Some(Self::ArrowFile)
        } else if head.starts_with(&[0xff; 4]) {
            Some(Self::ArrowStream)
        } else {
            None
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet file",
            Self::ArrowFile => "arrow file",
            Self::ArrowStream => "arrow stream",
        }
    }
}

/// A table that is read batch by batch.
#[derive(Debug)]
pub struct Batches {
    kind: Kind,
    reader: BatchReader,
    /// The number of the next row.
    next_row: usize,
}

#[derive(Debug)]
enum BatchReader {
    Parquet(Box<ParquetRecordBatchReader>),
    File(Box<FileReader<BufReader<File>>>),
    Stream(Box<StreamReader<BufReader<Content>>>),
}

/// Some rows of a table.
#[derive(Debug)]
pub struct Batch {
    /// The rows.
    pub rows: RecordBatch,
    /// The number of the first one, from 1.
    pub first: usize,
}

impl Batches {
    /// Opens a table.
    pub fn open(
        kind: Kind,
        content: Content,
        scratch: &Scratch,
        path: &Path,
    ) -> anyhow::Result<Self> {
        let reader = match kind {
            Kind::Parquet => {
                let file = content.into_file(scratch)?;
                let builder = ParquetRecordBatchReaderBuilder::try_new(file);
                let reader = builder.and_then(|it| it.with_batch_size(BATCH).build());
                let reader = reader.map_err(|e| broken(kind, path, &e))?;
                BatchReader::Parquet(Box::new(reader))
            }
            Kind::ArrowFile => {
                let file = BufReader::new(content.into_file(scratch)?);
                let reader = FileReader::try_new(file, None).map_err(|e| broken(kind, path, &e))?;
                BatchReader::File(Box::new(reader))
            }
            Kind::ArrowStream => {
                let bytes = BufReader::new(content);
                let reader =
                    StreamReader::try_new(bytes, None).map_err(|e| broken(kind, path, &e))?;
                BatchReader::Stream(Box::new(reader))
            }
        };
        Ok(Self { kind, reader, next_row: 1 })
    }

    /// The next rows; `None` behind the last ones.
    pub fn next(&mut self, path: &Path) -> anyhow::Result<Option<Batch>> {
        let batch = match &mut self.reader {
            BatchReader::Parquet(reader) => reader.next(),
            BatchReader::File(reader) => reader.next(),
            BatchReader::Stream(reader) => reader.next(),
        };
        let Some(rows) = batch.transpose().map_err(|e| broken(self.kind, path, &e))? else {
            return Ok(None);
        };
        let first = self.next_row;
        self.next_row += rows.num_rows();
        Ok(Some(Batch { rows, first }))
    }
}

fn broken(kind: Kind, path: &Path, error: &dyn std::fmt::Display) -> anyhow::Error {
    let error = error.to_string();
    // Which library says it is nothing to a user.
    let names = ["Parquet error: ", "Parquet argument error: ", "Parser error: ", "Io error: "];
    let error = names.iter().find_map(|name| error.strip_prefix(name)).unwrap_or(&error);
    let error = error.replace("failed to fill whole buffer", "it ends in the middle");
    exit::bad_input(anyhow!(
        "{}: a broken {}: {error}\nhint: the copy was probably damaged or cut short; fetch the file again",
        path.display(),
        kind.name()
    ))
}

/// One row of a batch as an object.
pub fn row(batch: &RecordBatch, i: usize) -> anyhow::Result<Value> {
    let schema = batch.schema_ref();
    let names = schema.fields().iter().map(|field| field.name().clone());
    object(names, batch.columns(), i)
}

fn object(
    names: impl Iterator<Item = String>,
    columns: &[ArrayRef],
    i: usize,
) -> anyhow::Result<Value> {
    let mut object = Map::new();
    for (name, column) in names.zip(columns) {
        let value = cell(column, i).with_context(|| format!("field `{name}`"))?;
        object.insert(name, value);
    }
    Ok(Value::Object(object))
}

fn cell(column: &ArrayRef, i: usize) -> anyhow::Result<Value> {
    if column.is_null(i) || *column.data_type() == DataType::Null {
        return Ok(Value::Null);
    }
    Ok(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(i).into(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(i).into(),
        DataType::Utf8View => column.as_string_view().value(i).into(),
        DataType::Boolean => column.as_boolean().value(i).into(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(i).into(),
        DataType::Float32 => f64::from(column.as_primitive::<Float32Type>().value(i)).into(),
        DataType::Int8 => column.as_primitive::<Int8Type>().value(i).into(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(i).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(i).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(i).into(),
        DataType::UInt8 => column.as_primitive::<UInt8Type>().value(i).into(),
        DataType::UInt16 => column.as_primitive::<UInt16Type>().value(i).into(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(i).into(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(i).into(),
        DataType::List(_) => list(&as_type::<ListArray>(column).value(i))?,
        DataType::LargeList(_) => list(&as_type::<LargeListArray>(column).value(i))?,
        DataType::FixedSizeList(..) => list(&as_type::<FixedSizeListArray>(column).value(i))?,
        DataType::Struct(fields) => {
            let names = fields.iter().map(|field| field.name().clone());
            object(names, as_type::<StructArray>(column).columns(), i)?
        }
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            cell(dictionary.values(), dictionary.normalized_keys()[i])?
        }
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 | DataType::Binary => {
            // No loader reads such a field, and a row may well have one.
            Value::Null
        }
        other => bail!("the column type `{other}` is not supported"),
    })
}

fn list(values: &ArrayRef) -> anyhow::Result<Value> {
    (0..values.len()).map(|i| cell(values, i)).collect::<anyhow::Result<Vec<_>>>().map(Value::Array)
}

fn as_type<T: 'static>(column: &ArrayRef) -> &T {
    column.as_any().downcast_ref().expect("the data type names the array's type")
}
