//! The names of the datasets.

use crate::config::sources::Kind;

/// The kind of a dataset's keys, by its name in any case; `None` for a name that nobody knows.
pub(crate) fn kind(name: &str) -> Option<Kind> {
    let name = name.to_lowercase();
    if INSTRUCTION.iter().any(|(known, ..)| *known == name) {
        return Some(Kind::Instruction);
    }
    if name.contains("ted_trans") || name.contains("wmt2019") {
        // The reference fails on these while it writes: there are no bytes to match.
        return Some(Kind::NotSupported);
    }
    OTHERS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

/// Every name that can be built, for suggestions.
pub(crate) fn all() -> impl Iterator<Item = &'static str> + Clone {
    let others = OTHERS.iter().filter(|(_, kind)| *kind != Kind::NotSupported);
    INSTRUCTION.iter().map(|(name, ..)| *name).chain(others.map(|(name, _)| *name))
}

/// The instruction datasets: name, folder, file if one is named, fields of question and answer.
pub(crate) const INSTRUCTION: &[(&str, &str, Option<&str>, [&str; 2])] = {
    const UPPER: [&str; 2] = ["INSTRUCTION", "RESPONSE"];
    &[
        ("humaneval_mbpp_codegen_qa", "OllieStanley/humaneval-mbpp-codegen-qa", None, UPPER),
        ("humaneval_mbpp_testgen_qa", "OllieStanley/humaneval-mbpp-testgen-qa", None, UPPER),
        ("grade_school_math_instructions", "qwedsacf/grade-school-math-instructions", None, UPPER),
        ("recipes", "dctanner/oa_recipes", None, UPPER),
        ("ubuntu_dialogue_qa", "sedthh/ubuntu_dialogue_qa", None, UPPER),
        ("cmu_wiki_qa", "sedthh/cmu_wiki_qa", None, UPPER),
        ("youtube_subs_howto100m", "totuta/youtube_subs_howto100M", None, UPPER),
        ("iapp_wiki_qa_squad", "wannaphong/iapp_wiki_qa_squad_oa", None, UPPER),
        ("zhihu-kol", "wangrui6/zhihu-kol", None, UPPER),
        ("minimath", "kentsui/minimath", None, ["question", "answer"]),
        ("oa_wiki_qa_bart_10000row", "michaelthwan/oa_wiki_qa_bart_10000row", None, UPPER),
        ("oa_leet10k", "ehartford/oa_leet10k", None, UPPER),
        ("poem_instructions", "checkai/instruction-poems", None, UPPER),
        ("oa_stackexchange", "donfu/oa-stackexchange", None, UPPER),
        ("tell_a_joke", "mikegarts/oa_tell_a_joke_20000", None, UPPER),
        (
            "wizardlm_70k",
            "ehartford/WizardLM_alpaca_evol_instruct_70k_unfiltered",
            None,
            ["instruction", "output"],
        ),
        (
            "megacode",
            "rombodawg/MegaCodeTraining112k",
            Some("RombosCodeTraining112k.json"),
            ["prompt", "completion"],
        ),
        (
            "megacode2",
            "rombodawg/LosslessMegaCodeTrainingV2_1m_Evol_Uncensored",
            Some("DeDuped_LosslessMegaCodeTrainingV2_942k_Evol_Uncensored.json"),
            ["USER", "ASSISTANT"],
        ),
        (
            "megacode3",
            "rombodawg/LosslessMegaCodeTrainingV3_2.2m_Evol",
            Some("LosslessMegaCodeTrainingV3_2.2m_Evol.json"),
            ["USER", "ASSISTANT"],
        ),
        (
            "evol_instruct_code",
            "nickrosh/Evol-Instruct-Code-80k-v1",
            None,
            ["instruction", "output"],
        ),
        (
            "evol-codealpaca-v1",
            "theblackcat102/evol-codealpaca-v1",
            None,
            ["instruction", "output"],
        ),
        ("cot_submix_original", "conceptofmind/cot_submix_original", None, ["inputs", "targets"]),
    ]
};

/// Every other name, with the kind of its keys.
const OTHERS: &[(&str, Kind)] = &[
    ("messages", Kind::Messages),
    ("sharegpt", Kind::Messages),
    ("instructions", Kind::PromptResponse),
    ("text", Kind::Text),
    ("orca-chat", Kind::OrcaChat),
    ("bestofmegacode", Kind::BestOfMegacode),
    ("oasst_export", Kind::OasstExport),
    ("dolphin-mix", Kind::DolphinMix),
    ("dolly15k", Kind::Plain),
    ("dolly15k_multilingual", Kind::Plain),
    ("alpaca", Kind::Alpaca),
    ("code_alpaca", Kind::Alpaca),
    ("alpaca_gpt4", Kind::Plain),
    ("vicuna", Kind::Cut),
    ("wizard_evol_instruct_v2", Kind::Cut),
    ("soda", Kind::Cut),
    ("gpteacher_roleplay", Kind::Plain),
    ("oig_file", Kind::Oig),
    ("multi-chapter-summaries", Kind::Summaries),
    ("red_pajama", Kind::PlainText),
    ("fanfics", Kind::PlainText),
    ("gpt4all", Kind::Plain),
    ("soda_dialogue", Kind::Plain),
    ("joke", Kind::Plain),
    ("oa_translated", Kind::Plain),
    ("webgpt", Kind::Plain),
    ("prosocial_dialogue", Kind::Plain),
    ("explain_prosocial", Kind::Plain),
    ("squad_v2", Kind::Questions),
    ("adversarial_qa", Kind::Questions),
    ("trivia_qa_nocontext", Kind::Plain),
    ("trivia_qa_context", Kind::Plain),
    ("gsm8k", Kind::Questions),
    ("math_qa", Kind::Questions),
    ("reddit_eli5", Kind::Questions),
    ("reddit_askh", Kind::Questions),
    ("reddit_asks", Kind::Questions),
    ("ua_squad", Kind::Questions),
    ("gsm8k_hard", Kind::Questions),
    ("wikihow", Kind::Questions),
    ("essay_instruction", Kind::Questions),
    ("xsum", Kind::Summary),
    ("samsum", Kind::Summary),
    ("multi_news", Kind::Summary),
    ("billsum", Kind::Summary),
    ("cnn_dailymail", Kind::Summary),
    ("scitldr", Kind::Summary),
    ("tldr_news", Kind::Summary),
    ("debate_sum", Kind::Summary),
    ("hf_summary", Kind::Plain),
    ("hf_summary_pairs", Kind::Plain),
    ("dive_mt", Kind::NotSupported),
    ("anthropic_rlhf", Kind::NotSupported),
    ("shp", Kind::NotSupported),
    ("hellaswag", Kind::NotSupported),
    ("augment_oasst", Kind::NotSupported),
    ("private_tuning", Kind::NotSupported),
];
