//! The numbers of all rules, as the specification numbers them.

use std::ops::RangeInclusive;

/// Ranges of numbers under a prefix.
pub(crate) type Rules = (&'static str, &'static [RangeInclusive<u32>]);

/// Rules that must stand in the list of tests: objects (01), the Rollout controller (02), analysis
/// and Experiments (03).
pub(crate) const REQUIRED: &[Rules] = &[
    ("API", &[1..=70]),
    (
        "CTL",
        &[
            1..=25,
            30..=34,
            42..=46,
            60..=73,
            90..=97,
            110..=122,
            125..=126,
            130..=139,
            143..=146,
            148..=148,
            150..=154,
            160..=163,
        ],
    ),
    ("ANA", &[1..=91]),
    ("EXP", &[1..=25]),
];

/// Other rules that differences may name. Sharp edges are numbered anew in each part.
pub(crate) const OTHERS: &[Rules] = &[
    (
        "TRF",
        &[
            1..=19,
            30..=31,
            100..=113,
            200..=204,
            250..=255,
            300..=300,
            320..=321,
            340..=340,
            360..=360,
            380..=380,
            400..=405,
            420..=421,
            440..=442,
            500..=507,
            510..=510,
            530..=532,
            540..=541,
        ],
    ),
    ("SE", &[1..=34]),
    ("ASE", &[1..=29]),
    ("CLI", &[1..=39]),
    ("DSH", &[1..=14]),
    ("EDGE", &[1..=22]),
    ("FLT", &[1..=40]),
    ("INS", &[1..=13]),
    ("INT", &[1..=6]),
    ("INV", &[1..=16]),
    ("NOT", &[1..=14]),
    ("OPS", &[1..=17]),
];

/// Rules without a test so far. Only ever shrinks.
pub(crate) const NOT_PROVEN: &[&str] = &[];

/// Rules that compare libraries (which expression evaluator to use) and describe nothing that runs.
pub(crate) const NO_BEHAVIOUR: &[&str] = &["ANA-87", "ANA-88", "ANA-89"];
