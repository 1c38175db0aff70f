//! The JSONPath dialect of Kubernetes (ANA-57): a template of texts and actions in braces.
//!
//! `{.a.b}`, `{$.a['k']}`, `\.` in names, `[0]`, `[-1:]`, `[a:b:c]`, `[*]`, `.*`, `..name`, unions
//! `[0,2]` `['a','b']`, filters `[?(@.x == "y")]` with `== != < <= > >=` or bare existence,
//! `{range …}…{end}`, quoted texts in braces. `$` and `@` both mean the current value.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value as Json;

mod parse;

/// Values that one step may yield; repeated `..` multiply.
const MAX_VALUES: usize = 1_000_000;

/// A parsed template.
#[derive(Debug, PartialEq)]
pub struct Template {
    blocks: Vec<Block>,
}

/// A piece of a template; each yields values of its own.
#[derive(Debug, PartialEq)]
enum Block {
    Text(String),
    Path(Vec<Step>),
    Range { over: Vec<Step>, body: Vec<Block> },
}

/// From some values to others.
#[derive(Debug, PartialEq)]
enum Step {
    Field(String),
    Wildcard,
    Descendants,
    Slice(Slice),
    Union(Vec<Step>),
    Filter(Filter),
    Literal(Json),
}

/// `[n]` and `[from:to:step]`.
#[derive(Debug, PartialEq)]
struct Slice {
    from: Option<i64>,
    to: Option<i64>,
    step: Option<i64>,
    /// `[n]` alone.
    single: bool,
}

/// `[?(left op right)]`
#[derive(Debug, PartialEq)]
struct Filter {
    left: Vec<Step>,
    /// None asks for existence.
    test: Option<(Comparison, Vec<Step>)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What cannot be read, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse::template(text).map(|blocks| Self { blocks })
    }

    /// What each block yields, in order; a range yields one entry per block and element.
    ///
    /// # Errors
    /// `x is not found`, `array index out of bounds: index 5, length 2` and their like.
    pub fn find<'a>(&'a self, root: &'a Json) -> Result<Vec<Vec<Cow<'a, Json>>>, String> {
        let mut found = Vec::new();
        blocks(&self.blocks, root, &mut found)?;
        Ok(found)
    }

    /// The first value of the first block that yields any.
    ///
    /// # Errors
    /// As [`Template::find`].
    pub fn first(&self, root: &Json) -> Result<Option<Json>, String> {
        Ok(self
            .find(root)?
            .into_iter()
            .flatten()
            .next()
            .map(Cow::into_owned))
    }
}

fn blocks<'a>(
    list: &'a [Block],
    current: &'a Json,
    found: &mut Vec<Vec<Cow<'a, Json>>>,
) -> Result<(), String> {
    for block in list {
        match block {
            Block::Text(text) => found.push(vec![Cow::Owned(Json::String(text.clone()))]),
            Block::Path(steps) => {
                let values = walk(steps, vec![current])?;
                found.push(values.into_iter().map(Cow::Borrowed).collect());
            }
            Block::Range { over, body } => {
                for value in walk(over, vec![current])? {
                    blocks(body, value, found)?;
                }
            }
        }
        if found.len() > MAX_VALUES {
            return Err("too many results".to_owned());
        }
    }
    Ok(())
}

fn walk<'a>(steps: &'a [Step], from: Vec<&'a Json>) -> Result<Vec<&'a Json>, String> {
    let mut values = from;
    for step in steps {
        values = apply(step, &values)?;
        if values.len() > MAX_VALUES {
            return Err("too many results".to_owned());
        }
    }
    Ok(values)
}

fn apply<'a>(step: &'a Step, values: &[&'a Json]) -> Result<Vec<&'a Json>, String> {
    match step {
        Step::Literal(literal) => Ok(vec![literal]),
        Step::Field(name) => {
            if values.is_empty() {
                return Ok(Vec::new());
            }
            let found: Vec<_> = values
                .iter()
                .filter_map(|v| v.as_object()?.get(name))
                .collect();
            if found.is_empty() {
                Err(format!("{name} is not found"))
            } else {
                Ok(found)
            }
        }
        Step::Wildcard => Ok(values.iter().flat_map(|v| children(v)).collect()),
        Step::Descendants => {
            let mut all = Vec::new();
            for value in values {
                descend(value, &mut all)?;
            }
            Ok(all)
        }
        Step::Slice(slice) => {
            let mut taken = Vec::new();
            for value in values.iter().filter(|v| !v.is_null()) {
                take(slice, value, &mut taken)?;
            }
            Ok(taken)
        }
        Step::Union(steps) => {
            let mut all = Vec::new();
            for step in steps {
                all.extend(apply(step, values)?);
            }
            Ok(all)
        }
        Step::Filter(filter) => {
            let mut kept = Vec::new();
            for value in values.iter().filter(|v| !v.is_null()) {
                let Some(items) = value.as_array() else {
                    return Err(format!(
                        "{} is not array or slice and cannot be filtered",
                        kind(value)
                    ));
                };
                for item in items {
                    if keeps(filter, item)? {
                        kept.push(item);
                    }
                }
            }
            Ok(kept)
        }
    }
}

fn children(value: &Json) -> Vec<&Json> {
    match value {
        Json::Array(items) => items.iter().collect(),
        Json::Object(entries) => entries.values().collect(),
        _ => Vec::new(),
    }
}

/// The value and everything in it; JSON text nests no deeper than its parser allows.
fn descend<'a>(value: &'a Json, into: &mut Vec<&'a Json>) -> Result<(), String> {
    if into.len() > MAX_VALUES {
        return Err("too many results".to_owned());
    }
    into.push(value);
    for child in children(value) {
        descend(child, into)?;
    }
    Ok(())
}

fn take<'a>(slice: &Slice, value: &'a Json, into: &mut Vec<&'a Json>) -> Result<(), String> {
    let Some(items) = value.as_array() else {
        return Err(format!("{} is not array or slice", kind(value)));
    };
    let len = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let from_end = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
    let from = from_end(slice.from.unwrap_or(0));
    let to = match slice.to {
        _ if slice.single => from.saturating_add(1),
        Some(to) => from_end(to),
        None => len,
    };
    if from == to {
        return Ok(());
    }
    let outside = |at: i64| {
        Err(format!(
            "array index out of bounds: index {at}, length {len}"
        ))
    };
    if from < 0 || from >= len {
        return outside(from);
    }
    if to < 0 || to > len {
        return outside(to.saturating_sub(1));
    }
    if from > to {
        return Err(format!(
            "starting index {from} is greater than ending index {to}"
        ));
    }
    let step = match slice.step {
        None => 1,
        Some(step) if step > 0 => usize::try_from(step).unwrap_or(usize::MAX),
        Some(_) => return Err("step must be > 0".to_owned()),
    };
    let range = usize::try_from(from).unwrap_or(0)..usize::try_from(to).unwrap_or(0);
    into.extend(items.get(range).unwrap_or_default().iter().step_by(step));
    Ok(())
}

fn keeps(filter: &Filter, item: &Json) -> Result<bool, String> {
    // An element without the field is no match, not an error.
    let Ok(left) = walk(&filter.left, vec![item]) else {
        return Ok(false);
    };
    let Some((comparison, right)) = &filter.test else {
        return Ok(!left.is_empty());
    };
    let Ok(right) = walk(right, vec![item]) else {
        return Ok(false);
    };
    let (left, right) = match (left.as_slice(), right.as_slice()) {
        ([], _) | (_, []) => return Ok(false),
        ([left], [right]) => (*left, *right),
        _ => return Err("can only compare one element at a time".to_owned()),
    };
    let order = order(left, right);
    Ok(match comparison {
        Comparison::Equal => left == right || order == Some(Ordering::Equal),
        Comparison::NotEqual => left != right && order != Some(Ordering::Equal),
        _ => match (order, comparison) {
            (None, _) => {
                return Err(format!(
                    "incompatible types for comparison: {} and {}",
                    kind(left),
                    kind(right)
                ));
            }
            (Some(order), Comparison::Less) => order.is_lt(),
            (Some(order), Comparison::LessEqual) => order.is_le(),
            (Some(order), Comparison::Greater) => order.is_gt(),
            (Some(order), _) => order.is_ge(),
        },
    })
}

fn order(left: &Json, right: &Json) -> Option<Ordering> {
    match (left, right) {
        (Json::Number(a), Json::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Json::String(a), Json::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "<nil>",
        Json::Bool(_) => "bool",
        Json::Number(_) => "float64",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests;
