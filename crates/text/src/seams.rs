//! Long parts: encoded window by window, and joined where the seam holds.
//!
//! # Claim
//! A row of pieces is the encoding of its text if and only if each two neighbours are the encoding of theirs.
//!
//! # Proof
//! *Only if.* In an encoding, no merge crossed the ends of two neighbours' stretch, so within it the merges came as they
//! come in that stretch alone. *If.* Suppose that encoding the text makes another row. Then some merge crosses an end
//! in the row; take the first one, across the end between neighbours a and b. Until then nothing crossed an end, so within the
//! stretch of a and b the merges came as in that stretch alone, and the one across was the most urgent there, too. So
//! alone a and b would have been crossed. ∎ (Nothing is asked of the scores.)
//!
//! So: encode a window of the text, keep its tokens but the last few, which a longer text might have changed, go on
//! with a window from where the last kept token ends, and look at the two tokens at the seam. If they are no
//! encoding, go back some tokens and try again with a longer window. What is kept is always the encoding of
//! the text up to there. How far back one must go depends on the vocabulary, not on the text's length: an influence
//! that travels to the left goes from each merge to a less urgent one, since equals go from left to right. So
//! the work is linear.
//!
//! A window with the text of the one before has its tokens: long runs of one character are not merged again and again.

use crate::first_round::MAX_BYTES;
use crate::rules::{Rules, Symbol, UNKNOWN};
use crate::scan::{Scan, Token};

/// How many bytes a window adds. Short windows make each scan cheap, long ones waste less at the seams.
const STEP: usize = 48;

/// How many tokens at a window's end are not trusted: a guess that makes most seams hold at once.
const N_LOOSE: usize = 1;

/// Encodes long parts.
#[derive(Debug)]
pub(crate) struct Seams {
    kept: Vec<Token>,
    /// The tokens of the window that is tried, with their places in it.
    window: Vec<Token>,
    /// Pairs of pieces whose seam held: they mostly are the same ones again and again. Each has one place.
    held: Box<[[Symbol; 2]; N_HELD]>,
}

const N_HELD: usize = 1 << 12;

impl Seams {
    pub(crate) fn new() -> Self {
        let held = Box::new([[UNKNOWN; 2]; N_HELD]);
        Self { kept: Vec::new(), window: Vec::new(), held }
    }

    /// The tokens of a text; none if a window would outgrow what can be scanned, which takes a
    /// vocabulary that is made for it.
    pub(crate) fn encode(
        &mut self,
        scan: &mut Scan,
        rules: &Rules,
        text: &str,
    ) -> Option<&[Token]> {
        self.kept.clear();
        // `text[..start]` is encoded by `kept`, and `text[scanned]` by `window`.
        let (mut start, mut end, mut scanned) = (0, ceil_char_boundary(text, STEP), 0..0);
        let mut n_back = 1;
        loop {
            if end - start > MAX_BYTES {
                return None;
            }
            if text[start..end] != text[scanned] {
                scan.merge(rules, &text[start..end]);
                self.window.clear();
                self.window.extend(scan.tokens());
            }
            scanned = start..end;
            if self.seam_holds(scan, rules, &text[..end], start) {
                let is_last = end == text.len();
                let n_loose = if is_last { 0 } else { N_LOOSE };
                let n_kept = self.window.len().saturating_sub(n_loose);
                self.kept.extend(self.window[..n_kept].iter().map(|token| token.behind(start)));
                if is_last {
                    return Some(&self.kept);
                }
                start = self.window[n_kept].behind(start).start as usize;
                end = ceil_char_boundary(text, end + STEP);
                n_back = 1;
            } else {
                let n_kept = self.kept.len().saturating_sub(n_back);
                start = self.kept[n_kept].start as usize;
                self.kept.truncate(n_kept);
                n_back *= 2;
            }
        }
    }

    /// Whether the last token kept and the first of the window, which starts at `seam`, are the encoding of their text.
    fn seam_holds(&mut self, scan: &mut Scan, rules: &Rules, text: &str, seam: usize) -> bool {
        let (Some(left), Some(right)) = (self.kept.last(), self.window.first()) else {
            return true;
        };
        let pair = [left.symbol, right.symbol];
        let place = usize::from(pair[0].wrapping_mul(0x9E37) ^ pair[1]) % N_HELD;
        if self.held[place] == pair && !pair.contains(&UNKNOWN) {
            return true;
        }
        let end = self.window.get(1).map_or(text.len(), |token| token.behind(seam).start as usize);
        let start = left.start as usize;
        scan.merge(rules, &text[start..end]);
        let holds = scan.tokens().map(|token| token.behind(start).start as usize).eq([start, seam]);
        if holds {
            self.held[place] = pair;
        }
        holds
    }
}

fn ceil_char_boundary(text: &str, at: usize) -> usize {
    (at..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len())
}
