//! What Prometheus answers (ANA-55).

use std::collections::BTreeMap;

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::expr::Value;
use crate::http::Answer;
use crate::numbers;
use crate::provider::Reading;

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    status: String,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    result: Json,
}

/// The numbers in an answer, or the error it tells.
pub(super) fn reading(answer: &Answer) -> Result<Reading, String> {
    let code = answer.status.as_u16();
    let told = matches!(
        answer.status,
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY
    );
    if !answer.status.is_success() && !told {
        return Err(match code / 100 {
            4 => format!("client_error: client error: {code}"),
            5 => format!("server_error: server error: {code}"),
            _ => format!("bad_response: bad response code {code}"),
        });
    }
    let envelope: Envelope =
        serde_json::from_slice(&answer.body).map_err(|e| format!("bad_response: {e}"))?;
    if envelope.status == "error" {
        return Err(format!("{}: {}", envelope.error_type, envelope.error));
    }
    if told || envelope.status != "success" {
        return Err(format!(
            "bad_response: inconsistent body for response code {code}"
        ));
    }
    let data = envelope
        .data
        .ok_or("bad_response: the answer has no data")?;
    let (result, value) = match data.kind.as_str() {
        "scalar" => {
            let x = sample(&data.result)?;
            (Value::Float(x), numbers::f(x))
        }
        "vector" | "matrix" => {
            let numbers = series(&data)?;
            let value = numbers::f_list(numbers.iter().copied());
            (Value::numbers(numbers), value)
        }
        kind => return Err(format!("unexpected value type {kind:?}")),
    };
    let mut metadata = BTreeMap::new();
    if let Some(warnings) = envelope.warnings.filter(|w| !w.is_empty()) {
        let quoted: Vec<String> = warnings.iter().map(|w| format!("{w:?}")).collect();
        metadata.insert("warnings".to_owned(), quoted.join(", "));
    }
    Ok(Reading {
        result,
        value,
        metadata,
        keep_value: false,
    })
}

/// The values of all series in order.
fn series(data: &Data) -> Result<Vec<f64>, String> {
    let list = match &data.result {
        Json::Array(list) => list.as_slice(),
        Json::Null => &[],
        _ => return Err("bad_response: result is no list".to_owned()),
    };
    let mut numbers = Vec::new();
    for item in list {
        match (
            item.get("value"),
            item.get("values").and_then(Json::as_array),
        ) {
            (Some(one), _) if data.kind == "vector" => numbers.push(sample(one)?),
            (_, Some(many)) if data.kind == "matrix" => {
                for one in many {
                    numbers.push(sample(one)?);
                }
            }
            // Taking it for 0 or for nothing could pass a bad release.
            _ if item.get("histogram").or(item.get("histograms")).is_some() => {
                return Err(
                    "native histograms are not supported yet, use histogram_quantile() or \
                            another function that yields floats"
                        .to_owned(),
                );
            }
            _ => return Err("bad_response: a series has no value".to_owned()),
        }
    }
    Ok(numbers)
}

/// The number of a `[time, "number"]` pair.
fn sample(pair: &Json) -> Result<f64, String> {
    let text = pair.get(1).and_then(Json::as_str);
    let number = text.and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("bad_response: {pair} is no pair of time and number"))
}
