//! `pretokenizer show`: documents as a person reads them, and the page.

use expect_test::{Expect, expect};
use fs_err as fs;

use crate::workplace::{JOKES, Outcome, Workplace, jokes};

/// Ten conversations of two sources, of which one holds markup and one a line that a terminal would obey.
fn built() -> Workplace {
    let workplace =
        Workplace::with_datasets("[joke: {val_split: 0.2}, gpteacher_roleplay: {val_split: 0}]");
    workplace.write(JOKES, jokes(5));
    workplace.write(
        ".cache/gpteacher_roleplay__json/gpteacher_roleplay.json",
        r#"[{"instruction": "</div><script>alert(1)</script>", "input": "", "response": "Salut & \"ça\" va?\n\u001b[2J"}]"#,
    );
    workplace.run(&["--configs", "a"]).ok();
    workplace
}

fn show(workplace: &Workplace, arguments: &[&str]) -> Outcome {
    let mut command = workplace.subcommand("show", arguments);
    Outcome::of(command.output().expect("the program can be started"))
}

#[test]
fn a_document_is_readable_in_a_pipe() {
    let workplace = built();
    let outcome = show(&workplace, &["out", "--split", "train", "--index", "4"]).ok();
    expect![[r#"
        train: document 4 of 5 (`gpteacher_roleplay`), 58 tokens, 26 trained on

        user 32 tokens
          <|im_start|> ▁user \n <0x3C> <0x2F> d    i    v    >    <0x3C> s    c    ri  pt  >    a    l
          1534         401   13 63     50     1404 1393 1429 1486 63     1394 1400 284 313 1486 1390 1401
          er  t    (    1    )    <0x3C> <0x2F> s    c    ri  pt  >    <|im_end|> ▁    \n
          261 1398 1472 1449 1473 63     50     1394 1400 284 313 1486 1535       1389 13

        assistant 26 tokens, trained on
          <|im_start|> ▁assistant \n S    a    l    u    t    ▁    <0x26> ▁"  <0xC3> <0xA7> a    "    ▁
          1534         404        13 1427 1390 1401 1399 1398 1389 41     299 198    170    1390 1419 1389
          va  ?    \n <0x1B> <0x5B> 2    J    <|im_end|> ▁    \n
          570 1410 13 30     94     1494 1436 1535       1389 13
    "#]].assert_eq(&outcome.out);
    let by_text = show(&workplace, &["out", "--grep", "Salut"]).ok();
    assert_eq!(by_text.out, outcome.out);
    let by_source = show(&workplace, &["out", "--source", "gpteacher_roleplay"]).ok();
    assert_eq!(by_source.out, outcome.out);
    let two = show(&workplace, &["out", "--source", "joke", "-n", "2"]).ok();
    assert_eq!(two.out.matches(" trained on\n\nuser").count(), 2, "{}", two.out);
}

#[test]
fn colours_are_for_those_who_want_them() {
    let workplace = built();
    let colours = |name: &str| {
        let mut command = workplace.subcommand("show", &["out"]);
        let output = command.env_remove("NO_COLOR").env(name, "1").output();
        Outcome::of(output.expect("the program can be started")).ok().out.contains('\u{1b}')
    };
    assert!(colours("CLICOLOR_FORCE"));
    assert!(!colours("NO_COLOR"));
    assert!(!colours("ANY_OTHER"), "a pipe is no terminal");
}

#[test]
fn a_folder_without_its_tokenizer_shows_ids() {
    let workplace = built();
    fs::rename(workplace.path().join("demo.model"), workplace.path().join("moved.model"))
        .expect("it is there");
    let outcome = show(&workplace, &["out", "--index", "0", "--split", "val"]).ok();
    expect![[r#"
        val: document 0 of 1 (`joke`), 25 tokens, 14 trained on

        user 11 tokens
          1534 401 13 428 1408 1389 1493 1410 1535 1389 13

        assistant 14 tokens, trained on
          1534 404 13 1356 276 1399 638 421 1389 1493 1406 1535 1389 13
    "#]]
    .assert_eq(&outcome.out);
    expect![[r#"
        note: only ids, no texts: `demo.model` is not here
        hint: give the tokenizer with `--tokenizer FILE`
    "#]]
    .assert_eq(&outcome.err);
    let outcome = show(&workplace, &["out", "--tokenizer", "moved.model", "--grep", "Salut"]);
    assert!(outcome.ok().out.contains("gpteacher_roleplay"));
}

#[test]
fn what_is_not_there_is_said() {
    let workplace = built();
    #[track_caller]
    fn check(workplace: &Workplace, arguments: &[&str], expected: &Expect) {
        let outcome = show(workplace, arguments);
        assert_eq!(outcome.code, Some(2), "{}", outcome.out);
        expected.assert_eq(&outcome.err);
    }
    check(
        &workplace,
        &["out", "--split", "test"],
        &expect![[r#"
        error: `out` has no split `test`
        hint: it has `train`, `val`
    "#]],
    );
    check(
        &workplace,
        &["out", "--source", "jokes"],
        &expect![[r#"
        error: `out` has no source `jokes`
        hint: did you mean `joke`?
    "#]],
    );
    check(
        &workplace,
        &["out", "--split", "val", "--index", "9"],
        &expect![[r#"
        error: `--index 9`: there is no such document: `val` has 1, numbered from 0
    "#]],
    );
    for more in [&["--html", "page.html"][..], &[]] {
        check(
            &workplace,
            &[&["out", "--index", "5"], more].concat(),
            &expect![[r#"
            error: `--index 5`: there is no such document: `train` has 5, `val` has 1, numbered from 0
        "#]],
        );
    }
    check(
        &workplace,
        &["out", "--html", "pages/page.html"],
        &expect![[r#"
        error: `--html pages/page.html`: there is no folder `pages`
        hint: make it, or give another path
    "#]],
    );
    workplace.write("other.model", "other");
    check(
        &workplace,
        &["out", "--tokenizer", "other.model"],
        &expect![[r#"
        error: `other.model` is not the tokenizer of these shards: its SHA-256 is d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa, the manifest's is 4ada73c24712c8c0a4ab8749699ec15248b88a89a25b023eabee322745eb6e34
    "#]],
    );
}

#[test]
fn the_page_needs_nothing_else_and_holds_texts_as_texts() {
    let workplace = built();
    show(&workplace, &["out", "--html", "page.html"]).ok();
    let page = String::from_utf8(workplace.read("page.html")).expect("the page is UTF-8");
    let words = regex::Regex::new("<[^>]*>").expect("a pattern").replace_all(&page, "");
    assert!(words.contains("script&gt;alert"), "{words}");
    for markup in ["<script", "src=", "href=", "url(", "http", "@import"] {
        assert!(!page.contains(markup), "the page has {markup}");
    }
    assert!(page.contains("Salut") || words.contains("Salut &amp; "), "{words}");
    // Everything that is opened is closed, whatever the documents hold.
    for tag in ["div", "section", "details", "table", "span", "pre", "main"] {
        let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
        assert_eq!(page.matches(&open).count(), page.matches(&close).count(), "{tag}");
    }
    let manifest = workplace.manifest();
    for output in manifest["outputs"].as_array().expect("a list") {
        assert!(page.contains(output["sha256"].as_str().expect("a text")));
    }
}
