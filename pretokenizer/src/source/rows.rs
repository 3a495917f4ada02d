//! Files -> typed rows, parsed in parallel, in the order of the files.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use arrow_array::RecordBatch;
use cli::{bail_input, exit};
use serde::de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::config::OnError;
use crate::in_order;
use crate::scratch::Scratch;
use crate::source::bad_row::{BadRow, fields_of};
use crate::source::columns::{self, Batch, Batches, Kind};
use crate::source::content::Content;
use crate::source::journal::{RowPlace, RowsRead};
use crate::source::json::{self, Place, Slice};
use crate::source::numbers;

/// Reads rows and remembers which files they came from.
#[derive(Debug)]
pub struct Reader {
    threads: usize,
    scratch: Arc<Scratch>,
    opened: Vec<PathBuf>,
    on_error: OnError,
    /// The rows of the source that is read now.
    rows: RowsRead,
}

impl Reader {
    /// A reader that parses with so many threads.
    #[must_use]
    pub fn new(threads: usize, on_error: OnError, scratch: Arc<Scratch>) -> Self {
        Self { threads, scratch, opened: Vec::new(), on_error, rows: RowsRead::default() }
    }

    /// Begins with a source. What was read of the one before it is forgotten.
    pub fn begin(&mut self, rows: RowsRead) {
        self.rows = rows;
    }

    /// What was read of the source.
    pub fn end(&mut self) -> RowsRead {
        std::mem::take(&mut self.rows)
    }

    /// Notes a row that a loader found by itself.
    pub fn note<'f>(&mut self, file: &'f Path, place: Place) -> RowPlace<'f> {
        RowPlace { file, place, number: self.rows.note(file, place) }
    }

    /// Every file that was read, in the order of reading, each once.
    #[must_use]
    pub fn opened(&self) -> &[PathBuf] {
        &self.opened
    }

    /// All rows of the files, for a dataset that cannot be made row by row.
    pub fn rows<'f, T: DeserializeOwned + Send>(
        &mut self,
        files: &'f [PathBuf],
    ) -> anyhow::Result<Vec<(RowPlace<'f>, T)>> {
        let mut rows = Vec::new();
        self.for_each(files, typed::<T>(), Ok, |place, row| {
            rows.push((place, row));
            Ok(())
        })?;
        Ok(rows)
    }

    /// A file that is one JSON document and no list of rows.
    pub fn document<T: DeserializeOwned + Send>(&mut self, path: &Path) -> anyhow::Result<T> {
        if !self.opened.iter().any(|opened| opened == path) {
            self.opened.push(path.to_path_buf());
        }
        let mut bytes = Vec::new();
        let mut content = Content::open(path)?;
        while !content.append_to(&mut bytes, 1 << 20)? {}
        parse(&bytes, typed::<T>())
            .map_err(|bad| exit::bad_input(anyhow!("{}: {bad}", path.display())))
    }

    /// Reads every row by the seed, makes something of it, and hands that over in the order of the rows.
    ///
    /// Rows are read and `make` is called on several threads; `take` gets what comes out, one at a time. What `make`
    /// refuses is an error of the row: it stops the run, or is counted, by `on_error`. That no row is left is an error, too.
    pub fn for_each<'f, S: RowSeed, T: Send>(
        &mut self,
        files: &'f [PathBuf],
        seed: S,
        make: impl Fn(S::Row) -> anyhow::Result<T> + Sync,
        mut take: impl FnMut(RowPlace<'f>, T) -> anyhow::Result<()> + Send,
    ) -> anyhow::Result<()> {
        for path in files {
            if !self.opened.contains(path) {
                self.opened.push(path.clone());
            }
        }
        let Self { threads, scratch, on_error, rows, .. } = self;
        let mut blocks = Blocks::new(files, scratch);
        let (mut n_rows, mut n_bad) = (0_usize, 0_usize);
        in_order::run(
            *threads,
            || blocks.next(),
            || |block: Block<'_>| Ok((block.file, block.rows(seed, &make))),
            |(file, block)| {
                for (place, row) in block {
                    let place = RowPlace { file, place, number: rows.note(file, place) };
                    n_rows += 1;
                    match row {
                        Ok(row) => take(place, row)?,
                        Err(bad) if *on_error == OnError::Skip => {
                            n_bad += 1;
                            rows.refuse(place, bad);
                        }
                        Err(bad) => return Err(refused(place, &bad)),
                    }
                }
                Ok(ControlFlow::Continue(()))
            },
        )?;
        if let (0, Some(path)) = (n_rows, files.first()) {
            bail_input!("`{}` has no rows\nhint: fetch the file again", path.display());
        }
        if n_bad == n_rows {
            let file = files[0].display();
            bail_input!(
                "{file}: none of the {n_rows} rows can be read (`on_error: skip`)\nhint: `on_error: stop` shows the first one"
            );
        }
        Ok(())
    }

    /// [`Self::for_each`] with some columns of one type; `None` where the row has null or no such field.
    ///
    /// That no row at all has the field is an error: the name is wrong.
    pub fn for_each_columns<'f, const N: usize, C: DeserializeOwned + Send, T: Send>(
        &mut self,
        files: &'f [PathBuf],
        names: [&str; N],
        make: impl Fn([Option<C>; N]) -> anyhow::Result<T> + Sync,
        mut take: impl FnMut(RowPlace<'f>, T) -> anyhow::Result<()> + Send,
    ) -> anyhow::Result<()> {
        let mut is_there = [false; N];
        let with_fields = |row: [Option<Option<C>>; N]| {
            let fields = row.each_ref().map(Option::is_some);
            Ok((fields, make(row.map(Option::flatten))?))
        };
        self.for_each(
            files,
            PickColumns(names, PhantomData),
            with_fields,
            |place, (fields, made)| {
                for (is_there, field) in is_there.iter_mut().zip(fields) {
                    *is_there |= field;
                }
                take(place, made)
            },
        )?;
        if let Some(name) = names.iter().zip(is_there).find_map(|(name, is)| (!is).then_some(name))
        {
            bail_input!(
                "{}: no row has the field `{name}`\nhint: the fields there are: {}",
                files[0].display(),
                self.first_fields(files)?
            );
        }
        Ok(())
    }

    fn first_fields(&self, files: &[PathBuf]) -> anyhow::Result<String> {
        let mut blocks = Blocks::new(files, &self.scratch);
        let Some(block) = blocks.next()? else { return Ok(String::new()) };
        let rows = block.rows(typed::<Value>(), &Ok);
        let first = rows.into_iter().find_map(|(_, row)| row.ok());
        Ok(first.as_ref().map(fields_of).unwrap_or_default())
    }
}

/// What a row that cannot be read says. In a packed file that is damaged, the damage is the better reason.
fn refused(row: RowPlace<'_>, bad: &BadRow) -> anyhow::Error {
    let whole = Content::open(row.file).and_then(|mut content| content.read_to_end());
    whole.err().unwrap_or_else(|| {
        let has_hint = bad.message.contains("\nhint:");
        let hint = if has_hint {
            ""
        } else {
            "\nhint: `on_error: skip` leaves out rows that cannot be read, and counts them"
        };
        exit::bad_input(anyhow!("{row}: {bad}{hint}"))
    })
}

/// Files that are being cut into blocks of rows.
struct Blocks<'f, 's> {
    files: std::slice::Iter<'f, PathBuf>,
    scratch: &'s Scratch,
    open: Option<(&'f Path, Open)>,
}

enum Open {
    Text(json::Blocks),
    Table(Batches),
}

/// Some rows of a file.
struct Block<'f> {
    file: &'f Path,
    content: BlockContent,
}

enum BlockContent {
    Text(json::Block),
    Table(Batch),
}

impl<'f, 's> Blocks<'f, 's> {
    fn new(files: &'f [PathBuf], scratch: &'s Scratch) -> Self {
        Self { files: files.iter(), scratch, open: None }
    }

    fn next(&mut self) -> anyhow::Result<Option<Block<'f>>> {
        loop {
            if let Some((file, open)) = &mut self.open {
                let content = match open {
                    Open::Text(blocks) => blocks.next(file)?.map(BlockContent::Text),
                    Open::Table(batches) => batches.next(file)?.map(BlockContent::Table),
                };
                if let Some(content) = content {
                    return Ok(Some(Block { file, content }));
                }
            }
            let Some(path) = self.files.next() else { return Ok(None) };
            let content = Content::open(path)?;
            let open = match Kind::of(content.head()) {
                Some(kind) => Open::Table(Batches::open(kind, content, self.scratch, path)?),
                None => Open::Text(json::Blocks::new(content)),
            };
            self.open = Some((path, open));
        }
    }
}

/// What became of a row, or what is wrong with it.
type Made<T> = (Place, Result<T, BadRow>);

impl Block<'_> {
    fn rows<S: RowSeed, T>(
        &self,
        seed: S,
        make: &impl Fn(S::Row) -> anyhow::Result<T>,
    ) -> Vec<Made<T>> {
        let make = |row| make(row).map_err(BadRow::from);
        match &self.content {
            BlockContent::Text(block) => {
                let row = |slice: Slice<'_>| (slice.place, parse(slice.bytes, seed).and_then(make));
                block.rows().map(row).collect()
            }
            BlockContent::Table(batch) => {
                let row = |i| {
                    let row = cells(&batch.rows, i, seed).and_then(make);
                    (Place::Row(batch.first + i), row)
                };
                (0..batch.rows.num_rows()).map(row).collect()
            }
        }
    }
}

fn cells<S: RowSeed>(batch: &RecordBatch, i: usize, seed: S) -> Result<S::Row, BadRow> {
    let value = columns::row(batch, i)?;
    explain(&value, seed).map_err(|(at, error)| BadRow::of_field(&value, &at, &error))
}

/// Reads rows as this type.
#[must_use]
pub fn typed<T>() -> PhantomData<fn() -> T> {
    PhantomData
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

/// Picks some fields of each row by name; of one that is there, null is nothing.
#[derive(Debug)]
pub struct PickColumns<'n, const N: usize, T>(pub [&'n str; N], pub PhantomData<fn() -> T>);

impl<const N: usize, T> Clone for PickColumns<'_, N, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<const N: usize, T> Copy for PickColumns<'_, N, T> {}

impl<const N: usize, T: DeserializeOwned + Send> RowSeed for PickColumns<'_, N, T> {
    type Row = [Option<Option<T>>; N];

    fn read<'de, D: Deserializer<'de>>(self, row: D) -> Result<Self::Row, D::Error> {
        row.deserialize_map(self)
    }
}

impl<'de, const N: usize, T: Deserialize<'de>> Visitor<'de> for PickColumns<'_, N, T> {
    type Value = [Option<Option<T>>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with the fields {}", self.0.join(", "))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = [const { None }; N];
        while let Some(key) = map.next_key_seed(ColumnIndex(&self.0))? {
            match key {
                Some(i) => values[i] = Some(map.next_value()?),
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

fn parse_fast<S: RowSeed>(bytes: &[u8], seed: S) -> Option<S::Row> {
    // Whether it is UTF-8 is asked once, and not of each text in it. If not, the row may still be read, as long as only fields
    // that are passed over are the reason.
    match std::str::from_utf8(bytes) {
        Ok(text) => read_all(serde_json::Deserializer::from_str(text), seed),
        Err(_) => read_all(serde_json::Deserializer::from_slice(bytes), seed),
    }
}

fn read_all<'de, R: serde_json::de::Read<'de>, S: RowSeed>(
    mut json: serde_json::Deserializer<R>,
    seed: S,
) -> Option<S::Row> {
    let row = seed.read(&mut json).ok()?;
    json.end().ok().map(|()| row)
}

/// Parses a row; only one that fails is parsed a second time, slowly, to name the field.
fn parse<S: RowSeed>(bytes: &[u8], seed: S) -> Result<S::Row, BadRow> {
    // A list may stand for an object to serde, but not to a user.
    let is_list = bytes.first() == Some(&b'[');
    numbers::is_in_doubt();
    let row = if is_list { None } else { parse_fast(bytes, seed) };
    if numbers::is_in_doubt() {
        let told_apart = numbers::told_apart(bytes);
        if let Some(row) = told_apart.and_then(|bytes| parse_fast(&bytes, seed)) {
            return Ok(row);
        }
    }
    if let Some(row) = row {
        return Ok(row);
    }
    let mut bytes = Cow::from(bytes);
    // A number that is not finite may stand where a number may: its text, if one is made of it, and else nobody reads it.
    if !is_list && let Some(finite) = numbers::with_finite_ones(&bytes) {
        numbers::is_in_doubt();
        if let Some(row) = parse_fast(&finite, seed) {
            let is_text = numbers::is_in_doubt();
            let texts = numbers::told_apart(&bytes).unwrap_or_default();
            match parse_fast(&texts, seed) {
                Some(with_text) => return Ok(if is_text { with_text } else { row }),
                None => bytes = texts.into(),
            }
        } else {
            bytes = finite.into();
        }
    }
    let bytes = &*bytes;
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => return Err(BadRow::not_json(bytes, &error)),
    };
    let nowhere = serde_path_to_error::Track::new().path();
    if value.is_array() {
        let error = "invalid type: sequence, expected a map";
        return Err(BadRow::of_field(&value, &nowhere, error));
    }
    // A repeated key is lost in a `Value`, so the fast parser's error is the better one then.
    let (at, what) = explain(&value, seed).err().unwrap_or_else(|| {
        let mut again = serde_json::Deserializer::from_slice(bytes);
        let error = seed.read(&mut again).err().map(|error| error.to_string()).unwrap_or_default();
        (nowhere, error.split(" at line ").next().unwrap_or_default().to_owned())
    });
    let what = what.replace(&numbers::FINITE.to_string(), "NaN` or `Infinity");
    Err(BadRow::of_field(&value, &at, &what))
}

/// Reads a value and says at which field it fails, and how.
fn explain<S: RowSeed>(
    value: &Value,
    seed: S,
) -> Result<S::Row, (serde_path_to_error::Path, String)> {
    let mut track = serde_path_to_error::Track::new();
    let row = seed.read(serde_path_to_error::Deserializer::new(value, &mut track));
    row.map_err(|error| (track.path(), error.to_string()))
}
