//! Files -> typed rows, parsed in parallel, in the order of the files.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, anyhow};
use arrow_array::RecordBatch;
use cli::{BadInput, bail_input, interrupt};
use serde::Deserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::source::columns;
use crate::source::content;
use crate::source::json::{self, Place, Slice};

/// Rows that a thread parses before it looks for the next ones.
const ROWS_AT_A_TIME: usize = 256;

/// Reads rows and remembers which files they came from.
#[derive(Debug)]
pub struct Reader {
    threads: usize,
    opened: Vec<PathBuf>,
}

impl Reader {
    /// A reader that parses with so many threads.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { threads, opened: Vec::new() }
    }

    /// Every file that was read, in the order of reading, each once.
    #[must_use]
    pub fn opened(&self) -> &[PathBuf] {
        &self.opened
    }

    /// All rows of the files.
    pub fn rows<T: DeserializeOwned + Send>(
        &mut self,
        files: &[PathBuf],
    ) -> anyhow::Result<Vec<T>> {
        self.rows_by(files, PhantomData::<fn() -> T>)
    }

    /// Some text columns of all rows; `None` where the row has null or no such field.
    ///
    /// That no row at all has the field is an error: the name is wrong.
    pub fn columns<const N: usize>(
        &mut self,
        files: &[PathBuf],
        names: [&str; N],
    ) -> anyhow::Result<Vec<[Option<String>; N]>> {
        let rows = self.rows_by(files, PickColumns(names))?;
        for (i, name) in names.iter().enumerate() {
            if !rows.is_empty() && rows.iter().all(|row| row[i].is_none()) {
                let first: Vec<Value> = self.rows(&files[..1])?;
                let fields = first.first().map(fields_of).unwrap_or_default();
                bail_input!(
                    "{}: no row has the field `{name}`\nhint: the fields there are: {fields}",
                    files[0].display()
                );
            }
        }
        Ok(rows)
    }

    /// All rows of the files, each read by the seed.
    pub fn rows_by<S>(&mut self, files: &[PathBuf], seed: S) -> anyhow::Result<Vec<S::Row>>
    where
        S: RowSeed,
    {
        let mut rows = Vec::new();
        for path in files {
            if !self.opened.contains(path) {
                self.opened.push(path.clone());
            }
            rows.extend(self.rows_of_file(path, seed)?);
        }
        if let (true, Some(path)) = (rows.is_empty(), files.first()) {
            bail_input!("`{}` has no rows\nhint: fetch the file again", path.display());
        }
        Ok(rows)
    }

    fn rows_of_file<S: RowSeed>(&self, path: &Path, seed: S) -> anyhow::Result<Vec<S::Row>> {
        let content = content::read(path)?;
        if let Some(batches) = columns::read(&content) {
            let batches = batches.with_context(|| path.display().to_string()).bad_input()?;
            return self.rows_of_table(path, &batches, seed);
        }
        let slices =
            json::split(&content).map_err(|e| anyhow!("{}: {e}", path.display())).bad_input()?;
        in_parallel(self.threads, slices.len(), |i| {
            parse(&slices[i], seed).map_err(|e| anyhow!("{}{e}", path.display())).bad_input()
        })
    }

    fn rows_of_table<S: RowSeed>(
        &self,
        path: &Path,
        batches: &[RecordBatch],
        seed: S,
    ) -> anyhow::Result<Vec<S::Row>> {
        let mut places = Vec::new();
        for batch in batches {
            places.extend((0..batch.num_rows()).map(|i| (batch, i)));
        }
        in_parallel(self.threads, places.len(), |n| {
            let (batch, i) = places[n];
            let place = Place::Row(n + 1);
            let value = columns::row(batch, i)
                .with_context(|| format!("{}{place}", path.display()))
                .bad_input()?;
            let fields = fields_of(&value);
            explain(value, seed)
                .map_err(|e| anyhow!("{}{place}: {}", path.display(), with_fields(e, &fields)))
                .bad_input()
        })
    }
}

/// What turns any row's text into a value; it is copied to every row.
pub trait RowSeed: Copy + Sync {
    /// What a row becomes.
    type Row: Send;
    /// Reads one row.
    fn read<'de, D: Deserializer<'de>>(self, row: D) -> Result<Self::Row, D::Error>;
}

/// Any type that can be read; the function type stands for it because it can be shared whatever `T` is.
impl<T: DeserializeOwned + Send> RowSeed for PhantomData<fn() -> T> {
    type Row = T;

    fn read<'de, D: Deserializer<'de>>(self, row: D) -> Result<T, D::Error> {
        T::deserialize(row)
    }
}

/// Picks some fields of each row by name, as texts.
#[derive(Debug, Clone, Copy)]
pub struct PickColumns<'n, const N: usize>(pub [&'n str; N]);

impl<const N: usize> RowSeed for PickColumns<'_, N> {
    type Row = [Option<String>; N];

    fn read<'de, D: Deserializer<'de>>(self, row: D) -> Result<Self::Row, D::Error> {
        row.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for PickColumns<'_, N> {
    type Value = [Option<String>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with the fields {}", self.0.join(", "))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = [const { None }; N];
        while let Some(key) = map.next_key_seed(ColumnIndex(&self.0))? {
            match key {
                Some(i) => values[i] = map.next_value()?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(values)
    }
}

/// Reads a key without keeping its text.
struct ColumnIndex<'a>(&'a [&'a str]);

impl<'de> DeserializeSeed<'de> for ColumnIndex<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for ColumnIndex<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}

/// Parses a row; only one that fails is parsed a second time, slowly, to name the field.
fn parse<S: RowSeed>(slice: &Slice<'_>, seed: S) -> Result<S::Row, String> {
    let mut fast = serde_json::Deserializer::from_slice(slice.bytes);
    if let Ok(row) = seed.read(&mut fast)
        && fast.end().is_ok()
    {
        return Ok(row);
    }
    let place = slice.place;
    match serde_json::from_slice::<Value>(slice.bytes) {
        Err(error) => {
            // The library's line is always 1 here, and its column the byte of the row.
            let (text, at) = (error.to_string(), error.column());
            let what = text.split(" at line ").next().unwrap_or(&text);
            Err(format!("{place}: not JSON: {what}, at byte {at} of the row"))
        }
        Ok(value) => {
            let fields = fields_of(&value);
            // A repeated key is lost in a `Value`, so the fast parser's error is the better one then.
            match explain(value, seed) {
                Err(error) => Err(format!("{place}: {}", with_fields(error, &fields))),
                Ok(_) => {
                    let mut again = serde_json::Deserializer::from_slice(slice.bytes);
                    let error = seed.read(&mut again).err().map(|e| e.to_string());
                    Err(format!("{place}: {}", error.unwrap_or_default()))
                }
            }
        }
    }
}

/// Reads a value and says at which field it fails.
fn explain<S: RowSeed>(value: Value, seed: S) -> Result<S::Row, String> {
    let mut track = serde_path_to_error::Track::new();
    seed.read(serde_path_to_error::Deserializer::new(value, &mut track)).map_err(|error| {
        let path = track.path().to_string();
        if path == "." { error.to_string() } else { format!("field `{path}`: {error}") }
    })
}

fn with_fields(error: String, fields: &str) -> String {
    if error.contains("missing field") {
        format!("{error}\nhint: the fields there are: {fields}")
    } else {
        error
    }
}

fn fields_of(row: &Value) -> String {
    let names = row.as_object().map(|row| row.keys().map(|key| format!("`{key}`")));
    names.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// `work(0), work(1), ...` with several threads; the first error, by number, is the one that is returned.
fn in_parallel<T: Send>(
    threads: usize,
    n: usize,
    work: impl Fn(usize) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let run = || {
        let mut done: Vec<(usize, anyhow::Result<Vec<T>>)> = Vec::new();
        // A chunk is taken only after all earlier ones were, so the earliest error is always found.
        while !failed.load(Ordering::Relaxed) {
            let start = next.fetch_add(ROWS_AT_A_TIME, Ordering::Relaxed);
            if start >= n {
                break;
            }
            let chunk = start..n.min(start + ROWS_AT_A_TIME);
            let rows = interrupt::check()
                .map_err(anyhow::Error::from)
                .and_then(|()| chunk.map(&work).collect::<anyhow::Result<Vec<T>>>());
            failed.fetch_or(rows.is_err(), Ordering::Relaxed);
            done.push((start, rows));
        }
        done
    };
    let threads = threads.min(n.div_ceil(ROWS_AT_A_TIME)).max(1);
    let mut chunks = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut chunks = run();
        for other in others {
            chunks.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        chunks
    });
    chunks.sort_by_key(|(start, _)| *start);
    let mut rows = Vec::with_capacity(n);
    for (_, chunk) in chunks {
        rows.extend(chunk?);
    }
    Ok(rows)
}
