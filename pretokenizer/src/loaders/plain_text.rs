//! `red_pajama` and `fanfics`: plain text, cut into pieces.
//!
//! The reference crashes while it writes these (it encodes one character of each text and then finds the rest missing);
//! here each piece is encoded whole, with the role of a context.

use crate::config::sources::PlainText;
use crate::loaders::{Context, Loaded};
use crate::piece::Piece;
use crate::python;
use crate::sample::Sample;

/// Loads one of the two.
pub(crate) fn load(
    name: &str,
    keys: &PlainText,
    context: &mut Context<'_>,
) -> anyhow::Result<Loaded> {
    let (dataset, column, label) = if name == "red_pajama" {
        ("togethercomputer/RedPajama-Data-1T-Sample", "text", "RedPajama (red_pajama)")
    } else {
        ("atom-in-the-universe/fanfics-10k-50k", "TEXT", "FanFics (fanfics)")
    };
    let files = context.files(dataset, None, "train")?;
    let size = keys.max_chunk_size.unwrap_or(65_536);
    anyhow::ensure!(size > 0, "`max_chunk_size: 0` leaves no text");
    let pieces = |[text]: [Option<String>; 1]| {
        let text = text.unwrap_or_default();
        let (mut pieces, mut rest) = (Vec::new(), text.as_str());
        while !rest.is_empty() {
            let piece = python::prefix(rest, size);
            pieces.push(Piece::from(Sample::PlainText(piece.to_string())));
            rest = &rest[piece.len()..];
        }
        Ok(pieces)
    };
    context.reader.for_each_columns(&files, [column], pieces, |place, pieces| {
        if pieces.is_empty() {
            context.samples.drop_row(place, "empty");
        }
        pieces.iter().try_for_each(|piece| context.samples.push(place, piece).map(drop))
    })?;
    Ok(Loaded::whole(label))
}
