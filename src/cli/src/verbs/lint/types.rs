//! Members of the wrong type, by path.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

/// What is not of the type that the schema of a Rollout (and, in its pod template, this version of
/// the Kubernetes API) says: a line each, with what would be right.
pub(super) fn wrong(rollout: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(schema) = super::unknown::schema(rollout) {
        walk(schema, rollout, "", &mut found);
    }
    let template = rollout.pointer("/spec/template");
    let judged = found.iter().any(|line| line.starts_with("spec.template"));
    if let Some(template) = template.filter(|template| !judged && !template.is_null()) {
        found.extend(in_template(template));
    }
    found
}

/// What a schema node asks for.
enum Wanted {
    Whole,
    Number,
    WholeOrText,
    Text,
    Bool,
    List,
    Object,
}

impl Wanted {
    fn of(schema: &Value) -> Option<Self> {
        if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
            return Some(Self::WholeOrText);
        }
        Some(match schema.get("type")?.as_str()? {
            "integer" => Self::Whole,
            "number" => Self::Number,
            "string" => Self::Text,
            "boolean" => Self::Bool,
            "array" => Self::List,
            "object" => Self::Object,
            _ => return None,
        })
    }

    fn is_met_by(&self, value: &Value) -> bool {
        let whole = || value.as_f64().is_some_and(|number| number.fract() == 0.0);
        match self {
            Self::Whole => whole(),
            Self::Number => value.is_number(),
            Self::WholeOrText => whole() || value.is_string(),
            Self::Text => value.is_string(),
            Self::Bool => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Object => value.is_object(),
        }
    }

    fn words(&self) -> &'static str {
        match self {
            Self::Whole => "a whole number",
            Self::Number => "a number",
            Self::WholeOrText => "a whole number or a text",
            Self::Text => "a text",
            Self::Bool => "true or false",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }

    /// What to write instead, where that is plain.
    fn remedy(&self, value: &Value) -> String {
        match (self, value) {
            (Self::Whole | Self::Number, Value::String(text)) if text.parse::<f64>().is_ok() => {
                format!("; write {text} without quotes")
            }
            (Self::Bool, Value::String(text)) if matches!(text.as_str(), "true" | "false") => {
                format!("; write {text} without quotes")
            }
            (Self::Text, Value::Number(_) | Value::Bool(_)) => {
                format!("; write \"{value}\", in quotes")
            }
            (Self::List, Value::Object(_)) => "; begin each item with a dash".to_owned(),
            (Self::Object, Value::Array(_)) => "; leave out the dash".to_owned(),
            _ => String::new(),
        }
    }
}

fn walk(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    if value.is_null() {
        return; // as good as absent
    }
    if let Some(wanted) = Wanted::of(schema).filter(|wanted| !wanted.is_met_by(value)) {
        found.push(line(path, value, wanted.words(), &wanted.remedy(value)));
        return;
    }
    match value {
        Value::Object(members) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let additional = schema.get("additionalProperties");
            for (name, member) in members {
                let own = properties.and_then(|properties| properties.get(name));
                if let Some(schema) = own.or(additional) {
                    walk(schema, member, &super::unknown::join(path, name), found);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    walk(schema, item, &format!("{path}[{index}]"), found);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn line(path: &str, value: &Value, wanted: &str, remedy: &str) -> String {
    let shown = match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    };
    format!("{path}: Invalid value: {shown}: {wanted} is needed{remedy}")
}

/// The first member of a pod template that this version of the Kubernetes API cannot read.
fn in_template(template: &Value) -> Option<String> {
    let error = sluice_crds::decode::read::<PodTemplateSpec>(template).err()?;
    let text = error.to_string();
    let remedy = if text.contains("expected a string") {
        "; texts that look like numbers need quotes"
    } else if text.contains("expected i") && error.value.as_ref().is_some_and(Value::is_string) {
        "; numbers stand without quotes"
    } else {
        ""
    };
    Some(format!("spec.template.{text}{remedy}"))
}
