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
use arrow_schema::{ArrowError, DataType};
use cli::exit;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde_json::{Map, Value};

use crate::scratch::Scratch;
use crate::source::content::Content;
use crate::source::unpanicking::unpanicking;

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
        let reader = unpanicking(|| BatchReader::open(kind, content, scratch, path))
            .map_err(|panic| broken(kind, path, &panic))??;
        Ok(Self { kind, reader, next_row: 1 })
    }

    /// The next rows; `None` behind the last ones.
    pub fn next(&mut self, path: &Path) -> anyhow::Result<Option<Batch>> {
        let batch =
            unpanicking(|| self.reader.next()).map_err(|panic| broken(self.kind, path, &panic))?;
        let Some(rows) = batch.transpose().map_err(|e| broken(self.kind, path, &e))? else {
            return Ok(None);
        };
        let first = self.next_row;
        self.next_row += rows.num_rows();
        Ok(Some(Batch { rows, first }))
    }
}

impl BatchReader {
    fn open(kind: Kind, content: Content, scratch: &Scratch, path: &Path) -> anyhow::Result<Self> {
        Ok(match kind {
            Kind::Parquet => {
                let file = content.into_file(scratch)?;
                let builder = ParquetRecordBatchReaderBuilder::try_new(file);
                let reader = builder.and_then(|it| it.with_batch_size(BATCH).build());
                let reader = reader.map_err(|e| broken(kind, path, &e))?;
                Self::Parquet(Box::new(reader))
            }
            Kind::ArrowFile => {
                let file = BufReader::new(content.into_file(scratch)?);
                let reader = FileReader::try_new(file, None).map_err(|e| broken(kind, path, &e))?;
                Self::File(Box::new(reader))
            }
            Kind::ArrowStream => {
                let bytes = BufReader::new(content);
                let reader =
                    StreamReader::try_new(bytes, None).map_err(|e| broken(kind, path, &e))?;
                Self::Stream(Box::new(reader))
            }
        })
    }

    fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        match self {
            Self::Parquet(reader) => reader.next(),
            Self::File(reader) => reader.next(),
            Self::Stream(reader) => reader.next(),
        }
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
        DataType::Timestamp(..)
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Duration(_)
        | DataType::Interval(_)
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..)
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => {
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use arrow_array::{Int64Array, StringArray};
    use arrow_ipc::writer::{FileWriter, StreamWriter};
    use parquet::arrow::ArrowWriter;

    use super::*;

    /// A table of two columns, as a file of each kind.
    fn files() -> [Vec<u8>; 3] {
        let texts: ArrayRef =
            std::sync::Arc::new(StringArray::from(vec![Some("one"), None, Some("")]));
        let numbers: ArrayRef = std::sync::Arc::new(Int64Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_from_iter([("t", texts), ("n", numbers)]).unwrap();
        let schema = batch.schema();
        let mut file = FileWriter::try_new(Vec::new(), &schema).unwrap();
        file.write(&batch).unwrap();
        let mut stream = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        stream.write(&batch).unwrap();
        let mut parquet = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
        parquet.write(&batch).unwrap();
        [file.into_inner().unwrap(), stream.into_inner().unwrap(), parquet.into_inner().unwrap()]
    }

    fn read(bytes: &[u8]) -> anyhow::Result<Vec<Value>> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(bytes)?;
        let Some(kind) = Kind::of(bytes) else { bail!("no table") };
        let scratch = Scratch::new(file.path().parent().expect("a file has a folder"));
        let content = Content::open(file.path())?;
        let mut batches = Batches::open(kind, content, &scratch, file.path())?;
        let mut rows = Vec::new();
        while let Some(batch) = batches.next(file.path())? {
            for i in 0..batch.rows.num_rows() {
                rows.push(row(&batch.rows, i)?);
            }
        }
        Ok(rows)
    }

    #[test]
    fn a_changed_byte_of_a_table_makes_no_panic() {
        for bytes in files() {
            let rows = read(&bytes).unwrap();
            assert_eq!(rows[0], serde_json::json!({"t": "one", "n": 1}));
            assert_eq!(rows.len(), 3);
            let mut n_refused = 0;
            for i in 0..bytes.len() {
                for change in [0x01, 0x40, 0x80] {
                    let mut bytes = bytes.clone();
                    bytes[i] ^= change;
                    n_refused += u32::from(read(&bytes).is_err());
                }
            }
            assert!(n_refused > 100, "{n_refused}");
        }
    }
}
