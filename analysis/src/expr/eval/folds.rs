//! Built-ins with a predicate (ANA-82, ANA-85).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::super::ast::{BinaryOp, Node};
use super::super::builtins::{Fold, collections};
use super::super::value::{Array, Elements, Key, Object, Value};
use super::{At, Frame, Run, Stop, Walk, ops};

impl Run<'_> {
    pub(super) fn fold(
        &mut self,
        node: &Node,
        fold: Fold,
        over: &Node,
        predicate: Option<&Node>,
        extra: Option<&Node>,
    ) -> Walk {
        let over = match self.eval(over)? {
            Value::Array(array) => array,
            other => {
                return Err(format!(
                    "builtin {} takes only array (got {})",
                    fold.name(),
                    other.type_name()
                ))
                .at(node);
            }
        };
        let extra = extra.map(|n| self.eval(n)).transpose()?;
        self.frames.push(Frame {
            element: Value::Nil,
            acc: Value::Nil,
            index: 0,
        });
        let outcome = self.over(node, fold, &over, predicate, extra);
        self.frames.pop();
        outcome
    }

    /// The predicate's value for one element.
    fn each(&mut self, predicate: Option<&Node>, index: usize, element: &Value) -> Walk {
        let Some(predicate) = predicate else {
            return Ok(element.clone());
        };
        if let Some(frame) = self.frames.last_mut() {
            frame.element = element.clone();
            frame.index = i64::try_from(index).unwrap_or(i64::MAX);
        }
        self.eval(predicate)
    }

    fn holds(
        &mut self,
        node: &Node,
        predicate: Option<&Node>,
        index: usize,
        element: &Value,
    ) -> Result<bool, Stop> {
        match self.each(predicate, index, element)? {
            Value::Bool(b) => Ok(b),
            other => Err(format!("expected bool, but got {}", other.type_name()))
                .at(predicate.unwrap_or(node)),
        }
    }

    fn over(
        &mut self,
        node: &Node,
        fold: Fold,
        over: &Array,
        predicate: Option<&Node>,
        extra: Option<Value>,
    ) -> Walk {
        match fold {
            Fold::All | Fold::Any | Fold::None => {
                let ends_at = fold != Fold::All;
                for (i, item) in over.items().iter().enumerate() {
                    if self.holds(node, predicate, i, item)? == ends_at {
                        return Ok(Value::Bool(fold == Fold::Any));
                    }
                }
                Ok(Value::Bool(fold != Fold::Any))
            }
            Fold::One | Fold::Count => {
                let mut count = 0;
                for (i, item) in over.items().iter().enumerate() {
                    count += i64::from(self.holds(node, predicate, i, item)?);
                }
                Ok(if fold == Fold::One {
                    Value::Bool(count == 1)
                } else {
                    Value::Int(count)
                })
            }
            Fold::Filter => {
                let mut kept = Vec::new();
                for (i, item) in over.items().iter().enumerate() {
                    if self.holds(node, predicate, i, item)? {
                        self.budget.elements(1).at(node)?;
                        kept.push(item.clone());
                    }
                }
                Ok(Value::array(kept))
            }
            Fold::Map => {
                self.budget.elements(over.items().len() as u64).at(node)?;
                let mut mapped = Vec::with_capacity(over.items().len());
                for (i, item) in over.items().iter().enumerate() {
                    mapped.push(self.each(predicate, i, item)?);
                }
                super::Budget::depth(Value::array(mapped)).at(node)
            }
            Fold::Find | Fold::FindIndex | Fold::FindLast | Fold::FindLastIndex => {
                self.find(node, fold, over, predicate)
            }
            Fold::Sum => {
                let mut sum = Value::Int(0);
                for (i, item) in over.items().iter().enumerate() {
                    let term = self.each(predicate, i, item)?;
                    sum = ops::binary(BinaryOp::Add, &sum, &term, &mut self.budget).at(node)?;
                }
                Ok(sum)
            }
            Fold::GroupBy => self.group_by(node, over, predicate),
            Fold::SortBy => self.sort_by(node, over, predicate, extra.as_ref()),
            Fold::Reduce => self.reduce(node, over, predicate, extra),
        }
    }

    fn find(&mut self, node: &Node, fold: Fold, over: &Array, predicate: Option<&Node>) -> Walk {
        let len = over.items().len();
        let backwards = matches!(fold, Fold::FindLast | Fold::FindLastIndex);
        for n in 0..len {
            let i = if backwards { len - 1 - n } else { n };
            let Some(item) = over.items().get(i) else {
                break;
            };
            if self.holds(node, predicate, i, item)? {
                return Ok(match fold {
                    Fold::Find | Fold::FindLast => item.clone(),
                    _ => Value::Int(i64::try_from(i).unwrap_or(i64::MAX)),
                });
            }
        }
        Ok(Value::Nil)
    }

    fn group_by(&mut self, node: &Node, over: &Array, predicate: Option<&Node>) -> Walk {
        self.budget.elements(over.items().len() as u64).at(node)?;
        let mut groups: BTreeMap<Key, Vec<Value>> = BTreeMap::new();
        for (i, item) in over.items().iter().enumerate() {
            let by = self.each(predicate, i, item)?;
            let Some(key) = Key::of(&by) else {
                return Err(format!("cannot group by {}", by.type_name())).at(node);
            };
            groups.entry(key).or_default().push(item.clone());
        }
        let groups = groups
            .into_iter()
            .map(|(key, items)| (key, Value::Array(Array::new(items, Elements::Any))))
            .collect();
        super::Budget::depth(Value::Object(Object::new(groups))).at(node)
    }

    fn sort_by(
        &mut self,
        node: &Node,
        over: &Array,
        predicate: Option<&Node>,
        direction: Option<&Value>,
    ) -> Walk {
        let descending = collections::descending(direction).at(node)?;
        self.budget
            .elements(over.items().len() as u64 * 2)
            .at(node)?;
        let mut keyed = Vec::with_capacity(over.items().len());
        for (i, item) in over.items().iter().enumerate() {
            keyed.push((self.each(predicate, i, item)?, item.clone()));
        }
        let keys: Vec<&Value> = keyed.iter().map(|(key, _)| key).collect();
        collections::sortable(&keys).at(node)?;
        keyed.sort_by(|(a, _), (b, _)| sort_order(a, b, descending));
        Ok(Value::array(
            keyed.into_iter().map(|(_, item)| item).collect(),
        ))
    }

    fn reduce(
        &mut self,
        node: &Node,
        over: &Array,
        predicate: Option<&Node>,
        start: Option<Value>,
    ) -> Walk {
        let mut items = over.items().iter().enumerate();
        let mut acc = match start.or_else(|| items.next().map(|(_, first)| first.clone())) {
            Some(acc) => acc,
            None => {
                return Err("reduce of empty array with no initial value".to_owned()).at(node);
            }
        };
        for (i, item) in items {
            if let Some(frame) = self.frames.last_mut() {
                frame.acc = acc;
            }
            acc = self.each(predicate, i, item)?;
        }
        Ok(acc)
    }
}

fn sort_order(a: &Value, b: &Value, descending: bool) -> Ordering {
    let order = collections::total_order(a, b);
    if descending { order.reverse() } else { order }
}
