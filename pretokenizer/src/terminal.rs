//! A document -> lines for a terminal: each token above its id, turn by turn.
//!
//! Whose a turn is and whether it is trained on stands in words too: without colour nothing is lost.

use console::{Style, measure_text_width};
use indicatif::HumanCount;
use shards::Role;

use crate::shown::{Shown, Token, turns};

/// The lines of a document, at most so many columns wide.
#[must_use]
pub fn document(shown: &Shown, turn_start: Option<u32>, width: usize) -> String {
    let Shown { split, index, of, source, tokens } = shown;
    let trained = tokens.iter().filter(|token| token.is_trained_on()).count();
    let source = source.as_ref().map_or(String::new(), |name| format!(" (`{name}`)"));
    let mut text = format!(
        "{split}: document {index} of {}{source}, {} tokens, {} trained on\n",
        HumanCount(*of as u64),
        HumanCount(tokens.len() as u64),
        HumanCount(trained as u64)
    );
    for turn in turns(tokens, turn_start) {
        let role = turn[0].role;
        let colour = colour(role);
        let name = role.map_or("no role".to_string(), |role| role.to_string());
        let trained = if turn[0].is_trained_on() { ", trained on" } else { "" };
        let n = turn.len();
        text.push_str(&format!(
            "\n{} {n} token{}{trained}\n",
            colour.clone().bold().apply_to(name),
            if n == 1 { "" } else { "s" }
        ));
        let colour = if turn[0].is_trained_on() { colour.bold() } else { colour };
        grid(turn, &colour, width, &mut text);
    }
    text
}

fn colour(role: Option<Role>) -> Style {
    match role {
        Some(Role::System) => Style::new().magenta(),
        Some(Role::User) => Style::new().cyan(),
        Some(Role::Assistant) => Style::new().green(),
        Some(Role::Context) => Style::new().yellow(),
        None => Style::new().red(),
    }
}

/// Rows of tokens, each with a row of ids below it.
fn grid(turn: &[Token], colour: &Style, width: usize, text: &mut String) {
    let cells: Vec<(String, String)> =
        turn.iter().map(|token| (visible(&token.piece), token.id.to_string())).collect();
    let cell_width = |(piece, id): &(String, String)| measure_text_width(piece).max(id.len());
    let mut rest = &cells[..];
    while !rest.is_empty() {
        let mut used = 2;
        let fitting = rest.iter().take_while(|cell| {
            used += cell_width(cell) + 1;
            used <= width + 1
        });
        let (row, later) = rest.split_at(fitting.count().max(1));
        rest = later;
        let line = |pick: fn(&(String, String)) -> &str| {
            let cells = row.iter().map(|cell| {
                let blanks = cell_width(cell) - measure_text_width(pick(cell));
                format!("{}{}", pick(cell), " ".repeat(blanks))
            });
            cells.collect::<Vec<_>>().join(" ").trim_end().to_string()
        };
        let pieces = line(|(piece, _)| piece);
        if !pieces.is_empty() {
            text.push_str(&format!("  {}\n", colour.apply_to(pieces)));
        }
        let ids = line(|(_, id)| id);
        text.push_str(&format!("  {}\n", Style::new().dim().apply_to(ids)));
    }
}

/// A piece as it can stand in a line: what a terminal would obey is written out.
fn visible(piece: &str) -> String {
    match piece {
        "<0x0A>" => "\\n".into(),
        "<0x09>" => "\\t".into(),
        _ => piece
            .chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
            .collect(),
    }
}
