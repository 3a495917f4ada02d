//! Estimated similarities, against exact ones: `scripts/minhash/expected.py` computed those in `minhash.json`.

use pretokenizer::minhash::{self, MinHash, Shingles};
use pretokenizer::piece::{Form, Piece, Turn};
use serde::Deserialize;
use shards::Role;

#[derive(Deserialize)]
struct Pair {
    ngram: usize,
    turns: [Vec<(String, String)>; 2],
    jaccard: f64,
}

/// The estimate for each pair, and the exact similarity.
fn estimates(num_perm: usize) -> Vec<(f64, f64)> {
    let pairs: Vec<Pair> =
        serde_json::from_str(include_str!("minhash.json")).expect("it is what the script wrote");
    let estimate = |pair: &Pair| {
        let minhash = MinHash::new(num_perm, pair.ngram);
        let [a, b] = pair.turns.each_ref().map(|turns| {
            let mut piece = Piece::default();
            for (role, text) in turns {
                let role = Role::ALL.into_iter().find(|it| it.name() == role).expect("a role");
                piece.push(Turn { role, form: Form::Turn, text });
            }
            let mut signature = Vec::new();
            minhash.push_signature(piece.bytes(), &mut Shingles::default(), &mut signature);
            signature
        });
        (minhash::similarity(&a, &b), pair.jaccard)
    };
    pairs.iter().map(estimate).collect()
}

#[test]
fn estimates_are_as_far_from_the_exact_similarity_as_theory_says_and_no_farther() {
    for num_perm in [128, 4096] {
        let mut sum = 0.0;
        let mut sum_of_squares = 0.0;
        let mut n = 0.0;
        for (estimate, jaccard) in estimates(num_perm) {
            let error = (jaccard * (1.0 - jaccard) / num_perm as f64).sqrt();
            if error == 0.0 {
                assert_eq!(estimate, jaccard, "the same words, or none in common");
                continue;
            }
            let errors = (estimate - jaccard) / error;
            // One of 36 normal numbers is beyond 4 once in 400 sets of them.
            assert!(errors.abs() < 4.0, "{estimate} for {jaccard} by {num_perm}");
            sum += errors;
            sum_of_squares += errors * errors;
            n += 1.0;
        }
        assert!(n > 20.0);
        // Three standard errors of the mean and of the mean square of n normal numbers.
        assert!((sum / n).abs() < 3.0 / f64::sqrt(n), "biased by {}", sum / n);
        assert!(sum_of_squares / n < 1.0 + 3.0 * f64::sqrt(2.0 / n), "{}", sum_of_squares / n);
    }
}

#[test]
fn a_text_without_words_is_like_none_and_a_document_of_two_pieces_has_the_words_of_both() {
    let minhash = MinHash::new(64, 2);
    let signature = |text: &str| {
        let mut piece = Piece::default();
        piece.push(Turn { role: Role::User, form: Form::Verbatim, text });
        let mut signature = Vec::new();
        minhash.push_signature(piece.bytes(), &mut Shingles::default(), &mut signature);
        signature
    };
    assert_eq!(minhash::similarity(&signature("?!"), &signature("…")), 0.0);
    assert_eq!(minhash::similarity(&signature("A b"), &signature("a_B!")), 1.0);
    let least =
        |a: &[u32], b: &[u32]| -> Vec<u32> { a.iter().zip(b).map(|(a, b)| *a.min(b)).collect() };
    // "a b c" has the shingles "a b" and "b c".
    assert_eq!(signature("a b c"), least(&signature("a b"), &signature("b c")));
}
