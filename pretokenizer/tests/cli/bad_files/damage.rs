//! Files that are damaged, or not what they seem, of each kind.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use expect_test::expect;
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;

use crate::bad_files::{Table, said};
use crate::workplace::Workplace;

const ENTRY: &str = "instructions: {name: chats, path: chats, val_split: 0}";
const ROW: &str = "{\"instruction\": \"Hi\", \"output\": \"Hello\"}\n";

fn lines(bad: &[u8]) -> Vec<u8> {
    [ROW.as_bytes(), bad, b"\n", ROW.as_bytes()].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

/// An archive, as `tar` makes it of these files in a folder.
fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut folder = tar::Header::new_gnu();
    folder.set_entry_type(tar::EntryType::Directory);
    folder.set_size(0);
    archive.append_data(&mut folder, "export/", &b""[..]).expect("memory can be written");
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        let name = format!("export/{name}");
        archive.append_data(&mut header, name, text.as_bytes()).expect("memory can be written");
    }
    archive.into_inner().expect("memory can be written")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("memory can be written")
}

fn deep(n: usize) -> String {
    format!("{{\"x\": {}{}}}", "[".repeat(n), "]".repeat(n))
}

#[test]
fn json_lines() {
    let mut table = Table::new(ENTRY, "chats");
    table.row("no JSON", lines(b"instruction, output"));
    table.row("a line cut short", lines(b"{\"instruction\": \"Hi\", \"outp"));
    table.row(
        "the last line cut short",
        [ROW.as_bytes(), b"{\"instruction\": \"Hi\", \"outp"].concat(),
    );
    table.row("two objects in a line", lines(ROW.repeat(2).replace('\n', "").as_bytes()));
    table.row("a list as a row", lines(b"[1]"));
    table.row("null as a row", lines(b"null"));
    table.row("a number as a row", lines(b"17"));
    table.row("not UTF-8", lines(b"{\"instruction\": \"\xe9\", \"output\": \"\"}"));
    table.row("half a surrogate", lines(b"{\"instruction\": \"\\ud83d\", \"output\": \"x\"}"));
    table.row("a control character", lines(b"{\"instruction\": \"\x01\", \"output\": \"x\"}"));
    table.row("a number beyond all", lines(b"{\"instruction\": \"Hi\", \"output\": 1e999}"));
    table.row("no number", lines(b"{\"instruction\": \"Hi\", \"output\": NaN}"));
    table.row("no number for a list", lines(b"{\"instruction\": [-Infinity], \"output\": \"\"}"));
    table.row("another word for one", lines(b"{\"instruction\": \"Hi\", \"output\": nan}"));
    table.row("a byte order mark", [b"\xef\xbb\xbf", ROW.as_bytes()].concat());
    table.row("UTF-16", ROW.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    table.row(
        "a key twice",
        lines(b"{\"output\": \"a\", \"instruction\": \"b\", \"output\": \"c\"}"),
    );
    table.row("absurdly deep", lines(deep(100_000).as_bytes()));
    table.row("blank lines", lines(b"\n  \t\n\r\n"));
    table.row("lines that end as Windows ends them", ROW.replace('\n', "\r\n").repeat(2));
    table.row("nothing", "");
    table.row("nothing but blank lines", "\n \n");
    table.row("only bad rows", "{\"a\": 1}\n{\"a\": 2}\n");
    table.row("another format", "instruction,output\nHi,Hello\n");
    expect![[r#"
        no JSON
          stop: chats:2: not JSON: found "instruction, output" at byte 1 of the row, expected a value | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: not JSON
                row 2: bad row: not JSON: not JSON: found "instruction, output" at byte 1 of the row, expected a value
        a line cut short
          stop: chats:2: not JSON: the row ends at byte 27, inside a string | hint: is the file whole? In JSON lines, a row is a whole line
          skip: 2 kept, 1 bad row: not JSON
                row 2: bad row: not JSON: not JSON: the row ends at byte 27, inside a string | hint: is the file whole? In JSON lines, a row is a whole line
        the last line cut short
          stop: chats:2: not JSON: the row ends at byte 27, inside a string | hint: is the file whole? In JSON lines, a row is a whole line
          skip: 1 kept, 1 bad row: not JSON
                row 2: bad row: not JSON: not JSON: the row ends at byte 27, inside a string | hint: is the file whole? In JSON lines, a row is a whole line
        two objects in a line
          stop: chats:2: not JSON: found "{\"instruction\": \"Hi\", \"o"... at byte 41 of the row, expected the end of the row | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: not JSON
                row 2: bad row: not JSON: not JSON: found "{\"instruction\": \"Hi\", \"o"... at byte 41 of the row, expected the end of the row
        a list as a row
          stop: chats:2: found a list, expected an object | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: found a list, expected an object
        null as a row
          stop: chats:2: found null, expected an object | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: found null, expected an object
        a number as a row
          stop: chats:2: found the number `17`, expected an object | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: found the number `17`, expected an object
        not UTF-8
          stop: chats:2: not UTF-8: found the byte 0xe9 at byte 18 of the row | hint: convert the file, such as with `iconv -f LATIN1 -t UTF-8`
          skip: 2 kept, 1 bad row: not UTF-8
                row 2: bad row: not UTF-8: not UTF-8: found the byte 0xe9 at byte 18 of the row | hint: convert the file, such as with `iconv -f LATIN1 -t UTF-8`
        half a surrogate
          stop: chats:2: not JSON: found "\", \"output\": \"x\"}" at byte 24 of the row, expected both halves of a `\u` pair | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: not JSON
                row 2: bad row: not JSON: not JSON: found "\", \"output\": \"x\"}" at byte 24 of the row, expected both halves of a `\u` pair
        a control character
          stop: chats:2: not JSON: found "\u{1}\", \"output\": \"x\"}" at byte 18 of the row, expected a control character to be escaped | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: not JSON
                row 2: bad row: not JSON: not JSON: found "\u{1}\", \"output\": \"x\"}" at byte 18 of the row, expected a control character to be escaped
        a number beyond all
          stop: chats:2: field `output`: found a number, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `output`: found a number, expected a text
        no number
          stop: chats:2: field `output`: found a number, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `output`: found a number, expected a text
        no number for a list
          stop: chats:2: field `instruction[0]`: found a number, expected a text or a part of type text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `instruction[0]`: found a number, expected a text or a part of type text
        another word for one
          stop: chats:2: not JSON: found "an}" at byte 34 of the row, expected a value | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: not JSON
                row 2: bad row: not JSON: not JSON: found "an}" at byte 34 of the row, expected a value
        a byte order mark
          stop: chats: the file begins with a byte order mark | hint: save it as UTF-8 without one
          skip: the same
        UTF-16
          stop: chats: the file is UTF-16, expected UTF-8 | hint: convert it with `iconv -f UTF-16 -t UTF-8`
          skip: the same
        a key twice
          stop: no error
          skip: 3 kept
        absurdly deep
          stop: chats:2: nested too deeply: more than 127 lists and objects in each other, at byte 133 of the row | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: nested too deeply
                row 2: bad row: nested too deeply: nested too deeply: more than 127 lists and objects in each other, at byte 133 of the row
        blank lines
          stop: no error
          skip: 2 kept
        lines that end as Windows ends them
          stop: no error
          skip: 2 kept
        nothing
          stop: `chats` has no rows | hint: fetch the file again
          skip: the same
        nothing but blank lines
          stop: `chats` has no rows | hint: fetch the file again
          skip: the same
        only bad rows
          stop: chats:1: there is no column `instruction` | hint: the columns there are: `a`
          skip: chats: none of the 2 rows can be read (`on_error: skip`) | hint: `on_error: stop` shows the first one
        another format
          stop: chats: this is not JSON: it begins with "instruction,outp", expected `[` (an array) or `{` (one object a line)
          skip: the same
    "#]].assert_eq(&table.text);
}

#[test]
fn a_json_array() {
    let array = |bad: &[u8]| {
        let row = ROW.trim_end().as_bytes();
        [b"[", row, b",\n", bad, b",\n", row, b"]"].concat()
    };
    let mut table = Table::new(ENTRY, "chats");
    table.row("no JSON", array(b"nonsense"));
    table.row("a number as a row", array(b"17"));
    table.row("no row between two commas", array(b""));
    table.row("not UTF-8", array(b"{\"instruction\": \"\xe9\", \"output\": \"\"}"));
    table.row("absurdly deep", array(deep(100_000).as_bytes()));
    table.row("a byte order mark", [b"\xef\xbb\xbf", &array(b"{}")[..]].concat());
    table.row("no end", &array(ROW.as_bytes())[..100]);
    table.row("something behind the end", [&array(ROW.as_bytes())[..], b"\n[]"].concat());
    table.row(
        "a bracket that closes nothing",
        array(b"{\"instruction\": \"Hi\", \"output\": \"x\"}}"),
    );
    table.row("no rows", "[]");
    table.row("a comma at the end", "[{\"instruction\": \"Hi\", \"output\": \"x\"},]");
    table.row("one object over several lines", "{\n  \"data\": []\n}");
    expect![[r#"
        no JSON
          stop: chats: row 2: not JSON: found "onsense" at byte 2 of the row, expected a value | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: not JSON
                row 2: bad row: not JSON: not JSON: found "onsense" at byte 2 of the row, expected a value
        a number as a row
          stop: chats: row 2: found the number `17`, expected an object | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: found the number `17`, expected an object
        no row between two commas
          stop: chats: row 2: not JSON: the row ends at byte 0, inside a value | hint: is the file whole? In JSON lines, a row is a whole line
          skip: 2 kept, 1 bad row: not JSON
                row 2: bad row: not JSON: not JSON: the row ends at byte 0, inside a value | hint: is the file whole? In JSON lines, a row is a whole line
        not UTF-8
          stop: chats: row 2: not UTF-8: found the byte 0xe9 at byte 18 of the row | hint: convert the file, such as with `iconv -f LATIN1 -t UTF-8`
          skip: 2 kept, 1 bad row: not UTF-8
                row 2: bad row: not UTF-8: not UTF-8: found the byte 0xe9 at byte 18 of the row | hint: convert the file, such as with `iconv -f LATIN1 -t UTF-8`
        absurdly deep
          stop: chats: row 2: nested too deeply: more than 127 lists and objects in each other, at byte 133 of the row | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: nested too deeply
                row 2: bad row: nested too deeply: nested too deeply: more than 127 lists and objects in each other, at byte 133 of the row
        a byte order mark
          stop: chats: the file begins with a byte order mark | hint: save it as UTF-8 without one
          skip: the same
        no end
          stop: chats: the JSON array has no end: the file ends at byte 100 | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        something behind the end
          stop: chats: something follows the end of the JSON array, at byte 128
          skip: the same
        a bracket that closes nothing
          stop: chats: row 2: not JSON: found "}" at byte 37 of the row, expected the end of the row | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: not JSON
                row 2: bad row: not JSON: not JSON: found "}" at byte 37 of the row, expected the end of the row
        no rows
          stop: `chats` has no rows | hint: fetch the file again
          skip: the same
        a comma at the end
          stop: chats: row 2: not JSON: the row ends at byte 0, inside a value | hint: is the file whole? In JSON lines, a row is a whole line
          skip: 1 kept, 1 bad row: not JSON
                row 2: bad row: not JSON: not JSON: the row ends at byte 0, inside a value | hint: is the file whole? In JSON lines, a row is a whole line
        one object over several lines
          stop: chats:1: not JSON: the row ends at byte 1, inside an object | hint: is the file whole? In JSON lines, a row is a whole line
          skip: chats: none of the 3 rows can be read (`on_error: skip`) | hint: `on_error: stop` shows the first one
    "#]].assert_eq(&table.text);
}

#[test]
fn packed() {
    let text = ROW.repeat(50);
    let mut table = Table::new(ENTRY, "chats");
    let whole = gzip(text.as_bytes());
    table.row("gzip: cut short", &whole[..whole.len() - 9]);
    table.row("gzip: several members", [gzip(ROW.as_bytes()), gzip(ROW.as_bytes())].concat());
    table.row(
        "gzip: the second member cut short",
        [&gzip(ROW.as_bytes())[..], &whole[..whole.len() - 9]].concat(),
    );
    let mut broken = whole.clone();
    let checksum = whole.len() - 8;
    broken[checksum] ^= 1;
    table.row("gzip: another checksum", &broken);
    table.row("gzip: something behind the end", [&whole[..], b"and more"].concat());
    table.row("gzip: nothing in it", gzip(b""));
    table.row("gzip: no JSON in it", gzip(&lines(b"nonsense")));
    let whole = zstd(text.as_bytes());
    table.row("zstd: cut short", &whole[..whole.len() - 3]);
    table.row("zstd: several frames", [zstd(ROW.as_bytes()), zstd(ROW.as_bytes())].concat());
    let mut broken = whole.clone();
    broken[8] ^= 0xff;
    table.row("zstd: damaged", &broken);
    table.row("zstd: something behind the end", [&whole[..], b"and more"].concat());
    table.row("zstd: nothing in it", zstd(b""));
    table.row("zstd: no JSON in it", zstd(&lines(b"nonsense")));
    let whole = tar(&[("._chats.jsonl", "x"), ("chats.jsonl", &text)]);
    table.row("tar: one file", &whole);
    table.row("tar.gz: one file", gzip(&whole));
    table.row("tar.gz: cut short", &gzip(&whole)[..gzip(&whole).len() - 9]);
    table.row("tar: cut short", &whole[..3000]);
    table.row("tar: two files", tar(&[("a.jsonl", ROW), ("b.jsonl", ROW)]));
    table.row("tar: no file", tar(&[]));
    table.row("tar.zst: no JSON in it", zstd(&tar(&[("a.jsonl", "nonsense")])));
    expect![[r#"
        gzip: cut short
          stop: chats: the gzip data ends in the middle, after 2050 unpacked bytes | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        gzip: several members
          stop: no error
          skip: 2 kept
        gzip: the second member cut short
          stop: chats: the gzip data ends in the middle, after 2091 unpacked bytes | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        gzip: another checksum
          stop: chats: the gzip data is corrupt (corrupt gzip stream does not have a matching checksum), after 2050 unpacked bytes | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        gzip: something behind the end
          stop: chats: the gzip data ends in the middle, after 2050 unpacked bytes | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        gzip: nothing in it
          stop: `chats` has no rows | hint: fetch the file again
          skip: the same
        gzip: no JSON in it
          stop: chats:2: not JSON: found "onsense" at byte 2 of the row, expected a value | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: not JSON
                row 2: bad row: not JSON: not JSON: found "onsense" at byte 2 of the row, expected a value
        zstd: cut short
          stop: chats: the zstd data ends in the middle, after 0 unpacked bytes | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        zstd: several frames
          stop: no error
          skip: 2 kept
        zstd: damaged
          stop: chats: the zstd data is corrupt (Data corruption detected), after 0 unpacked bytes | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        zstd: something behind the end
          stop: chats: the zstd data is corrupt (Unknown frame descriptor), after 2050 unpacked bytes | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        zstd: nothing in it
          stop: `chats` has no rows | hint: fetch the file again
          skip: the same
        zstd: no JSON in it
          stop: chats:2: not JSON: found "onsense" at byte 2 of the row, expected a value | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: not JSON
                row 2: bad row: not JSON: not JSON: found "onsense" at byte 2 of the row, expected a value
        tar: one file
          stop: no error
          skip: 50 kept
        tar.gz: one file
          stop: no error
          skip: 50 kept
        tar.gz: cut short
          stop: chats: the tar data ends in the middle, after 2050 unpacked bytes | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        tar: cut short
          stop: chats: the tar data ends in the middle, after 952 unpacked bytes | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        tar: two files
          stop: chats: an archive of several files (`export/b.jsonl` is the second) | hint: unpack it, and name the folder
          skip: the same
        tar: no file
          stop: `chats` has no rows | hint: fetch the file again
          skip: the same
        tar.zst: no JSON in it
          stop: chats: this is not JSON: it begins with "nonsense", expected `[` (an array) or `{` (one object a line)
          skip: the same
    "#]].assert_eq(&table.text);
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).expect("columns of the same length")
}

fn texts(texts: [Option<&str>; 3]) -> ArrayRef {
    Arc::new(StringArray::from_iter(texts))
}

fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).expect("a schema");
    writer.write(batch).expect("memory can be written");
    writer.close().expect("memory can be written");
    bytes
}

fn arrow_file(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).expect("a schema");
    writer.write(batch).expect("memory can be written");
    writer.into_inner().expect("memory can be written")
}

fn arrow_stream(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("a schema");
    writer.write(batch).expect("memory can be written");
    writer.into_inner().expect("memory can be written")
}

#[test]
fn tables() {
    let good = || texts([Some("Hi"), Some("Ho"), Some("He")]);
    let whole = batch(vec![("instruction", good()), ("output", good())]);
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let with_numbers = batch(vec![("instruction", good()), ("output", numbers)]);
    let with_null =
        batch(vec![("instruction", good()), ("output", texts([Some("Hi"), None, Some("He")]))]);
    let without = batch(vec![("instruction", good()), ("answer", good())]);
    let mut table = Table::new(ENTRY, "chats");
    for (kind, write) in [
        ("parquet", parquet as fn(&RecordBatch) -> Vec<u8>),
        ("arrow file", arrow_file),
        ("arrow stream", arrow_stream),
    ] {
        let bytes = write(&whole);
        table.row(&format!("{kind}: cut short"), &bytes[..bytes.len() / 2]);
        table.row(&format!("{kind}: without its last bytes"), &bytes[..bytes.len() - 20]);
        table.row(&format!("{kind}: numbers for texts"), write(&with_numbers));
        table.row(&format!("{kind}: null"), write(&with_null));
        table.row(&format!("{kind}: another column"), write(&without));
        table.row(&format!("{kind}: no rows"), write(&whole.slice(0, 0)));
        table.row(&format!("{kind}: packed, and cut short"), &gzip(&bytes)[..90]);
    }
    expect![[r#"
        parquet: cut short
          stop: chats: a broken parquet file: Invalid Parquet file. Corrupt footer | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        parquet: without its last bytes
          stop: chats: a broken parquet file: Invalid Parquet file. Corrupt footer | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        parquet: numbers for texts
          stop: chats: row 1: field `output`: found a number, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: chats: none of the 3 rows can be read (`on_error: skip`) | hint: `on_error: stop` shows the first one
        parquet: null
          stop: chats: row 2: field `output`: found null, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `output`: found null, expected a text
        parquet: another column
          stop: chats: row 1: there is no column `output` | hint: the columns there are: `instruction`, `answer`
          skip: chats: none of the 3 rows can be read (`on_error: skip`) | hint: `on_error: stop` shows the first one
        parquet: no rows
          stop: `chats` has no rows | hint: fetch the file again
          skip: the same
        parquet: packed, and cut short
          stop: chats: the gzip data ends in the middle, after 0 unpacked bytes | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        arrow file: cut short
          stop: chats: a broken arrow file: Arrow file does not contain correct footer | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        arrow file: without its last bytes
          stop: chats: a broken arrow file: Arrow file does not contain correct footer | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        arrow file: numbers for texts
          stop: chats: row 1: field `output`: found a number, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: chats: none of the 3 rows can be read (`on_error: skip`) | hint: `on_error: stop` shows the first one
        arrow file: null
          stop: chats: row 2: field `output`: found null, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `output`: found null, expected a text
        arrow file: another column
          stop: chats: row 1: there is no column `output` | hint: the columns there are: `instruction`, `answer`
          skip: chats: none of the 3 rows can be read (`on_error: skip`) | hint: `on_error: stop` shows the first one
        arrow file: no rows
          stop: `chats` has no rows | hint: fetch the file again
          skip: the same
        arrow file: packed, and cut short
          stop: chats: the gzip data ends in the middle, after 0 unpacked bytes | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        arrow stream: cut short
          stop: chats: a broken arrow stream: Unexpected end of stream: expected 248 metadata bytes, got 156 | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        arrow stream: without its last bytes
          stop: chats: a broken arrow stream: it ends in the middle | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
        arrow stream: numbers for texts
          stop: chats: row 1: field `output`: found a number, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: chats: none of the 3 rows can be read (`on_error: skip`) | hint: `on_error: stop` shows the first one
        arrow stream: null
          stop: chats: row 2: field `output`: found null, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `output`: found null, expected a text
        arrow stream: another column
          stop: chats: row 1: there is no column `output` | hint: the columns there are: `instruction`, `answer`
          skip: chats: none of the 3 rows can be read (`on_error: skip`) | hint: `on_error: stop` shows the first one
        arrow stream: no rows
          stop: `chats` has no rows | hint: fetch the file again
          skip: the same
        arrow stream: packed, and cut short
          stop: chats: the gzip data ends in the middle, after 0 unpacked bytes | hint: the copy was probably damaged or cut short; fetch the file again
          skip: the same
    "#]].assert_eq(&table.text);
}

#[test]
fn a_row_of_100_megabytes_is_read_or_named() {
    let long = "Lima and ".repeat(100_000_000 / 9);
    let row = |field: &str| format!("{{\"instruction\": \"Hi\", \"{field}\": \"{long}\"}}");
    let workplace = Workplace::with_datasets(&format!("[{ENTRY}]"));
    workplace.write("chats", lines(row("output").as_bytes()));
    workplace.run(&["--configs", "a"]).ok();
    assert_eq!(workplace.manifest()["splits"][0]["sources"][0]["documents"], 3);
    workplace.write("chats", lines(row("outputs").as_bytes()));
    let outcome = workplace.run(&["--configs", "a"]);
    expect!["chats:2: there is no column `output` | hint: the columns there are: `instruction`, `outputs`"].assert_eq(&said(&outcome));
}
