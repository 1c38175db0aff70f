//! The verdict on one measurement (ANA-77, ANA-78). Written once, for all providers.

use jiff::Timestamp;
use sluice_crds::analysis::AnalysisPhase;

use crate::expr::{Env, Kind, Names, Program, Value};

/// Judges `result` by the two conditions of a metric; an empty one is not set.
///
/// Both are always evaluated, so that a broken one is told whatever the other says.
///
/// # Errors
/// The message of an Error measurement: which condition could not be evaluated, and why.
pub fn verdict(
    success: &str,
    failure: &str,
    result: &Value,
    now: Timestamp,
) -> Result<AnalysisPhase, String> {
    let holds = |field: &str, condition: &str| {
        if condition.is_empty() {
            return Ok(None);
        }
        evaluate(condition, result, now)
            .map(Some)
            .map_err(|reason| format!("could not evaluate {field} {condition:?}: {reason}"))
    };
    let success = holds("successCondition", success)?;
    let failure = holds("failureCondition", failure)?;
    // Only that nothing bad was seen speaks for it; without a sample that says nothing (INV-9).
    if (success, failure) == (None, Some(false)) && is_no_sample(result) {
        return Err(
            "metric result is nil, empty or NaN: no data returned from the metric provider".into(),
        );
    }
    Ok(match (success, failure) {
        (_, Some(true)) | (Some(false), None) => AnalysisPhase::Failed,
        (Some(true), _) | (None, None | Some(false)) => AnalysisPhase::Successful,
        (Some(false), Some(false)) => AnalysisPhase::Inconclusive,
    })
}

/// Whether there is nothing in the result that a condition of failure could have seen.
fn is_no_sample(result: &Value) -> bool {
    result.is_nil_or_empty_array() || result.is_nan()
}

/// Evaluates one condition.
///
/// # Errors
/// Why there is no boolean. With nothing in the result, that is the reason given: users should
/// look at their query, not at their condition.
pub fn evaluate(condition: &str, result: &Value, now: Timestamp) -> Result<bool, String> {
    let outcome = run(condition, result, now);
    if outcome.is_err() && result.is_nil_or_empty_array() {
        return Err(
            "metric result is nil or empty: no data returned from the metric provider".to_owned(),
        );
    }
    outcome
}

fn run(condition: &str, result: &Value, now: Timestamp) -> Result<bool, String> {
    let names = Names::condition(Kind::of(result));
    let program = Program::compile(condition, &names).map_err(|e| e.to_string())?;
    let env = Env {
        result: result.clone(),
        now,
    };
    match program.eval(&env).map_err(|e| e.to_string())? {
        Value::Bool(verdict) => Ok(verdict),
        other => Err(format!("expected bool, but got {}", other.type_name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(success: &str, failure: &str, result: &Value) -> String {
        match verdict(success, failure, result, Timestamp::UNIX_EPOCH) {
            Ok(phase) => phase.to_string(),
            Err(message) => message,
        }
    }

    /// ANA-77
    #[test]
    fn phases() {
        for (success, failure, want) in [
            ("", "", "Successful"),
            ("true", "", "Successful"),
            ("false", "", "Failed"),
            ("", "true", "Failed"),
            (
                "",
                "false",
                "metric result is nil, empty or NaN: no data returned from the metric provider",
            ),
            ("true", "true", "Failed"),
            ("true", "false", "Successful"),
            ("false", "true", "Failed"),
            ("false", "false", "Inconclusive"),
        ] {
            assert_eq!(
                judge(success, failure, &Value::Nil),
                want,
                "{success:?} {failure:?}"
            );
        }
    }

    /// INV-9, FLT-29: without a sample a condition of failure says nothing.
    #[test]
    fn no_sample_is_no_success() {
        let no_data =
            "metric result is nil, empty or NaN: no data returned from the metric provider";
        for (result, want) in [
            (Value::numbers([]), no_data),
            (Value::numbers([f64::NAN]), no_data),
            (Value::Float(f64::NAN), no_data),
            (Value::numbers([f64::NAN, 0.01]), "Successful"),
            (Value::numbers([0.01]), "Successful"),
        ] {
            let condition = "any(result, # > 0.05)";
            let condition = if matches!(result, Value::Float(_)) {
                "result > 0.05"
            } else {
                condition
            };
            assert_eq!(judge("", condition, &result), want, "{result:?}");
        }
        // Whoever asks for a success explicitly knows what NaN means.
        let nan = Value::numbers([f64::NAN]);
        assert_eq!(judge("isNaN(result[0])", "", &nan), "Successful");
        assert_eq!(judge("result[0] < 0.05", "", &nan), "Failed");
    }

    /// ANA-78
    #[test]
    fn texts() {
        let numbers = Value::numbers([0.5]);
        let json = |text: &str| Value::from_json(&serde_json::from_str(text).unwrap());
        for (success, failure, result, want) in [
            (
                "result[0] > 1",
                "",
                Value::numbers([]),
                "could not evaluate successCondition \"result[0] > 1\": metric result is nil or \
                 empty: no data returned from the metric provider",
            ),
            (
                "true",
                "result < 1",
                Value::Nil,
                "could not evaluate failureCondition \"result < 1\": metric result is nil or \
                 empty: no data returned from the metric provider",
            ),
            (
                "result[1] > 1",
                "",
                numbers.clone(),
                "could not evaluate successCondition \"result[1] > 1\": index out of range: 1 \
                 (array length is 1) (1:7)",
            ),
            (
                "foo == 1",
                "",
                numbers.clone(),
                "could not evaluate successCondition \"foo == 1\": unknown name foo (1:1)",
            ),
            (
                "result == \"3\"",
                "",
                Value::Float(3.0),
                "could not evaluate successCondition \"result == \\\"3\\\"\": invalid operation: \
                 == (mismatched types float64 and string) (1:8)",
            ),
            (
                "result.x.y == 1",
                "",
                json("{}"),
                "could not evaluate successCondition \"result.x.y == 1\": cannot fetch y from \
                 <nil> (1:9)",
            ),
            (
                "asFloat(result) > 1",
                "",
                Value::text("x"),
                "could not evaluate successCondition \"asFloat(result) > 1\": \
                 strconv.ParseFloat: parsing \"x\": invalid syntax (1:1)",
            ),
        ] {
            assert_eq!(judge(success, failure, &result), want);
        }
        for (result, name) in [
            (Value::Float(1.0), "float64"),
            (Value::text("a"), "string"),
            (json("{\"a\":1}"), "map[string]interface {}"),
            (json("[1]"), "[]interface {}"),
            (numbers, "[]float64"),
        ] {
            assert_eq!(
                judge("result", "", &result),
                format!(
                    "could not evaluate successCondition \"result\": expected bool, but got {name}"
                )
            );
        }
        assert!(judge("1", "", &Value::Float(1.0)).ends_with("expected bool, but got int"));
        assert!(judge("nil", "", &Value::Float(1.0)).ends_with("expected bool, but got <nil>"));
    }
}
