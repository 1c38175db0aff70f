//! Metric providers, the condition language and the judge.
