//! Changes to files that a shell cannot make: `json FILE {…}` and `tensors FILE CHANGE…`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::{Map, Value};

/// A tensor by itself.
type Tensor = (Dtype, Vec<usize>, Vec<u8>);

/// Makes the change in the directory.
///
/// - `json FILE {"key": value}`: the keys get these values; `"GONE"` takes one away.
/// - `tensors FILE rename A B`: `A` within keys becomes `B`; `before A`: `A` is put before all keys.
/// - `tensors FILE first KEY NUMBER`: the first number of each tensor whose key contains `KEY`.
/// - `tensors FILE empty KEY`, `drop KEY`: such tensors have the shape `[0]`, or are gone.
/// - `tensors FILE add KEY AxB`: a tensor of zeros, f32.
/// - `tensors FILE as FORMAT KEY`: such tensors are zeros of that format, in their shape.
pub fn edit(dir: &Path, line: &str) {
    let (what, rest) = line.split_once(' ').expect("a change has a file");
    let (file, change) = rest.split_once(' ').expect("a file has a change");
    let path = dir.join(file);
    match what {
        "json" => json(&path, change),
        "tensors" => tensors(&path, &change.split(' ').collect::<Vec<_>>()),
        other => panic!("no change of this kind: {other}"),
    }
}

fn json(path: &Path, change: &str) {
    let old =
        fs::read(path).map_or_else(|_| Map::new(), |bytes| serde_json::from_slice(&bytes).unwrap());
    let change: Map<String, Value> = serde_json::from_str(change).unwrap();
    let kept = old.into_iter().filter(|(key, _)| !change.contains_key(key));
    let new = change.clone().into_iter().filter(|(_, value)| value != "GONE");
    let all: Map<String, Value> = kept.chain(new).collect();
    fs::write(path, Value::Object(all).to_string()).unwrap();
}

fn tensors(path: &Path, change: &[&str]) {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: BTreeMap<String, Tensor> = file
        .tensors()
        .into_iter()
        .map(|(key, view)| (key, (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
        .collect();
    match change {
        ["rename", from, to] => {
            all = all.into_iter().map(|(key, tensor)| (key.replace(from, to), tensor)).collect();
        }
        ["before", prefix] => {
            all = all.into_iter().map(|(key, tensor)| (format!("{prefix}{key}"), tensor)).collect();
        }
        ["first", part, number] => {
            let number: f32 = number.parse().unwrap();
            for (_, (dtype, _, data)) in all.iter_mut().filter(|(key, _)| key.contains(part)) {
                assert_eq!(*dtype, Dtype::F32);
                data[..4].copy_from_slice(&number.to_le_bytes());
            }
        }
        ["empty", part] => {
            for (_, (_, shape, data)) in all.iter_mut().filter(|(key, _)| key.contains(part)) {
                (*shape, *data) = (vec![0], Vec::new());
            }
        }
        ["drop", part] => all.retain(|key, _| !key.contains(part)),
        ["add", key, shape] => {
            let shape: Vec<usize> = shape.split('x').map(|size| size.parse().unwrap()).collect();
            let data = vec![0; 4 * shape.iter().product::<usize>()];
            all.insert((*key).to_owned(), (Dtype::F32, shape, data));
        }
        ["as", format, part] => {
            let format: Dtype = serde_json::from_value((*format).into()).unwrap();
            for (_, (dtype, shape, data)) in all.iter_mut().filter(|(key, _)| key.contains(part)) {
                let bits = shape.iter().product::<usize>() * format.bitsize();
                (*dtype, *data) = (format, vec![0; bits / 8]);
            }
        }
        other => panic!("no change of tensors: {other:?}"),
    }
    let views = all.iter().map(|(key, (dtype, shape, data))| {
        (key, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    serialize_to_file(views.collect::<Vec<_>>(), None, path).unwrap();
}
