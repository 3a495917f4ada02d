//! Parquet and arrow (file and stream) -> one JSON value per row.
//!
//! A row becomes the JSON object that the same row has in a JSON file, so that loaders know one kind of row only.

use std::io::Cursor;

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
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value};

/// Reads a table if the bytes are one; `None` if they are something else.
pub fn read(bytes: &Bytes) -> Option<anyhow::Result<Vec<RecordBatch>>> {
    if bytes.starts_with(b"PAR1") {
        Some(parquet(bytes.clone()))
    } else if bytes.starts_with(b"ARROW1") {
        Some(arrow_file(bytes))
    } else if bytes.starts_with(&[0xff; 4]) {
        Some(arrow_stream(bytes))
    } else {
        None
    }
}

fn parquet(bytes: Bytes) -> anyhow::Result<Vec<RecordBatch>> {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|e| broken("parquet file", &e))?;
    let batches = reader.build().map_err(|e| broken("parquet file", &e))?;
    batches.collect::<Result<_, _>>().map_err(|e| broken("parquet file", &e))
}

fn arrow_file(bytes: &[u8]) -> anyhow::Result<Vec<RecordBatch>> {
    let reader =
        FileReader::try_new(Cursor::new(bytes), None).map_err(|e| broken("arrow file", &e))?;
    reader.collect::<Result<_, _>>().map_err(|e| broken("arrow file", &e))
}

fn arrow_stream(bytes: &[u8]) -> anyhow::Result<Vec<RecordBatch>> {
    let reader =
        StreamReader::try_new(Cursor::new(bytes), None).map_err(|e| broken("arrow stream", &e))?;
    reader.collect::<Result<_, _>>().map_err(|e| broken("arrow stream", &e))
}

fn broken(what: &str, error: &dyn std::fmt::Display) -> anyhow::Error {
    let error = error.to_string();
    let error = error.trim_start_matches("Parquet error: ");
    anyhow!(
        "a broken {what}: {error}\nhint: the copy was probably damaged or cut short; fetch the file again"
    )
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
