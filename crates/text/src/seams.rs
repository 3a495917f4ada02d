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
//! the work is linear. With Llama's vocabularies one window in a few hundred is tried twice.

use crate::rules::Rules;
use crate::scan::{MAX_SYMBOLS, Scan, Token};

/// How many bytes a window adds. Short windows make each scan cheap, long ones waste less at the seams.
const STEP: usize = 48;

/// How many tokens at a window's end are not trusted: a guess that makes most seams hold at once.
const N_LOOSE: usize = 3;

/// Encodes long parts.
#[derive(Debug, Default)]
pub(crate) struct Seams {
    kept: Vec<Token>,
    window: Vec<Token>,
}

impl Seams {
    /// The tokens of a text; none if a window would outgrow what can be scanned, which takes a
    /// vocabulary that is made for it.
    pub(crate) fn encode(
        &mut self,
        scan: &mut Scan,
        rules: &Rules,
        text: &str,
    ) -> Option<&[Token]> {
        self.kept.clear();
        // `text[..start]` is encoded by `kept`.
        let (mut start, mut end) = (0, ceil_char_boundary(text, STEP));
        let mut n_back = 1;
        loop {
            if end - start > MAX_SYMBOLS {
                return None;
            }
            self.window.clear();
            scan.merge(rules, &text[start..end]);
            let offset = start as u32;
            self.window.extend(scan.tokens().map(|it| Token { start: offset + it.start, ..it }));
            if self.seam_holds(scan, rules, text, end) {
                n_back = 1;
                if end == text.len() {
                    self.kept.append(&mut self.window);
                    return Some(&self.kept);
                }
                let n_kept = self.window.len().saturating_sub(N_LOOSE);
                self.kept.extend(self.window.drain(..n_kept));
                start = self.window[0].start as usize;
                end = ceil_char_boundary(text, end + STEP);
            } else {
                let n_kept = self.kept.len().saturating_sub(n_back);
                start = self.kept[n_kept].start as usize;
                self.kept.truncate(n_kept);
                n_back *= 2;
            }
        }
    }

    /// Whether the last token kept and the first of the window are the encoding of their text.
    fn seam_holds(&self, scan: &mut Scan, rules: &Rules, text: &str, window_end: usize) -> bool {
        let (Some(left), Some(right)) = (self.kept.last(), self.window.first()) else {
            return true;
        };
        let end = self.window.get(1).map_or(window_end, |token| token.start as usize);
        scan.merge(rules, &text[left.start as usize..end]);
        scan.tokens().map(|token| left.start + token.start).eq([left.start, right.start])
    }
}

fn ceil_char_boundary(text: &str, at: usize) -> usize {
    (at..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len())
}
