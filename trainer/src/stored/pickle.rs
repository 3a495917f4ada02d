//! The pickle inside a file of `torch.save` -> names and tensors, without running anything.
//!
//! A pickle is a program that may call whatever Python can import. Of its operations only those are known here that
//! build plain values, and of everything that it may call only four functions, which are not called but understood:
//! `OrderedDict`, PyTorch's two functions that make a tensor of a storage, and the names of storages. Anything else is
//! refused by name. Values live in one list and refer to each other by place: a hostile file can neither recurse nor
//! grow them beyond its own length.

use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use tch::Kind;

/// A tensor as the pickle describes it: a view of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) kind: Kind,
    /// The name of the storage's record in the archive.
    pub(super) storage: String,
    /// In elements.
    pub(super) offset: i64,
    pub(super) size: Vec<i64>,
    pub(super) stride: Vec<i64>,
}

/// The tensors of a state dict.
pub(super) fn tensors(pickle: &[u8]) -> Result<BTreeMap<String, View>> {
    let mut machine = Machine::default();
    let top = machine.run(pickle)?;
    let Value::Object(top) = top else { bail!("it holds no dictionary of tensors") };
    let Object::Dict(entries) = &machine.objects[top] else {
        bail!("it holds no dictionary of tensors")
    };
    let mut tensors = BTreeMap::new();
    for (name, value) in entries {
        let Value::Text(name) = name else { bail!("it has a key that is no text") };
        let Value::Object(tensor) = value else { bail!("`{name}` is no tensor") };
        let Object::Tensor(view) = &machine.objects[*tensor] else {
            bail!("`{name}` is no tensor")
        };
        if tensors.insert(name.to_string(), view.clone()).is_some() {
            bail!("`{name}` is in it twice");
        }
    }
    Ok(tensors)
}

#[derive(Clone)]
enum Value {
    Mark,
    None,
    Bool,
    Int(i64),
    Text(Rc<str>),
    /// What the pickle may call or name.
    Known(Known),
    /// A place in [`Machine::objects`].
    Object(usize),
}

#[derive(Clone, Copy)]
enum Known {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Kind),
}

enum Object {
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Storage(Kind, Rc<str>),
    Tensor(View),
}

fn known(module: &str, name: &str) -> Result<Known> {
    Ok(match (module, name) {
        ("collections", "OrderedDict") => Known::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2") => Known::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Known::RebuildParameter,
        ("torch", "FloatStorage") => Known::Storage(Kind::Float),
        ("torch", "HalfStorage") => Known::Storage(Kind::Half),
        ("torch", "BFloat16Storage") => Known::Storage(Kind::BFloat16),
        ("torch", "DoubleStorage") => Known::Storage(Kind::Double),
        ("torch", "LongStorage") => Known::Storage(Kind::Int64),
        _ => bail!(
            "it asks for `{module}.{name}`, which no file of plain tensors needs, so it is not read\n\
             hint: take the model as safetensors"
        ),
    })
}

#[derive(Default)]
struct Machine {
    stack: Vec<Value>,
    memo: BTreeMap<u32, Value>,
    objects: Vec<Object>,
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n).context("it ends too soon")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("as many as asked for"))
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn text(&mut self, n: usize) -> Result<Value> {
        Ok(Value::Text(str::from_utf8(self.take(n)?).context("a text is no UTF-8")?.into()))
    }

    fn line(&mut self) -> Result<&'a str> {
        let end = self.0.iter().position(|&byte| byte == b'\n').context("it ends too soon")?;
        let line = self.take(end + 1)?;
        str::from_utf8(&line[..end]).context("a name is no UTF-8")
    }
}

impl Machine {
    /// Follows the operations to the end and gives what is left. The codes are those of CPython's `pickletools`.
    fn run(&mut self, pickle: &[u8]) -> Result<Value> {
        let mut bytes = Bytes(pickle);
        loop {
            match bytes.u8()? {
                0x80 => drop(bytes.u8()?),    // protocol
                0x95 => drop(bytes.take(8)?), // frame
                b'(' => self.stack.push(Value::Mark),
                b'N' => self.stack.push(Value::None),
                0x88 | 0x89 => self.stack.push(Value::Bool),
                b'K' => self.int(bytes.u8()?.into()),
                b'M' => self.int(u16::from_le_bytes(bytes.array()?).into()),
                b'J' => self.int(i32::from_le_bytes(bytes.array()?).into()),
                0x8a => self.long(&mut bytes)?,
                b'X' => {
                    let n = bytes.u32()? as usize;
                    self.stack.push(bytes.text(n)?);
                }
                0x8c => {
                    let n = bytes.u8()?.into();
                    self.stack.push(bytes.text(n)?);
                }
                b'c' => {
                    let (module, name) = (bytes.line()?, bytes.line()?);
                    self.stack.push(Value::Known(known(module, name)?));
                }
                0x93 => {
                    let (name, module) = (self.pop_text()?, self.pop_text()?);
                    self.stack.push(Value::Known(known(&module, &name)?));
                }
                b'q' => self.remember(bytes.u8()?.into())?,
                b'r' => {
                    let place = bytes.u32()?;
                    self.remember(place)?;
                }
                0x94 => {
                    let place = u32::try_from(self.memo.len()).context("it remembers too much")?;
                    self.remember(place)?;
                }
                b'h' => self.recall(bytes.u8()?.into())?,
                b'j' => {
                    let place = bytes.u32()?;
                    self.recall(place)?;
                }
                b'}' => self.push(Object::Dict(Vec::new())),
                b']' => self.push(Object::List(Vec::new())),
                b')' => self.push(Object::Tuple(Vec::new())),
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Object::Tuple(items));
                }
                count @ 0x85..=0x87 => {
                    let first = self.stack.len().checked_sub(usize::from(count - 0x84));
                    let items = self.stack.split_off(first.context("its stack is empty")?);
                    self.push(Object::Tuple(items));
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.dict()?.push((key, value));
                }
                b'u' => {
                    let mut items = self.pop_to_mark()?.into_iter();
                    let dict = self.dict()?;
                    while let Some(key) = items.next() {
                        dict.push((key, items.next().context("a key has no value")?));
                    }
                }
                b'a' => {
                    let item = self.pop()?;
                    self.list()?.push(item);
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.list()?.extend(items);
                }
                b'Q' => self.storage()?,
                b'R' => self.call()?,
                // Attributes of a dictionary, such as a state dict's `_metadata`, which says nothing about numbers.
                b'b' => {
                    self.pop()?;
                    self.dict()?;
                }
                b'.' => return self.pop(),
                other => bail!(
                    "its pickle has the operation {other:#04x}, which no file of plain tensors needs"
                ),
            }
        }
    }

    fn push(&mut self, object: Object) {
        self.stack.push(Value::Object(self.objects.len()));
        self.objects.push(object);
    }

    fn int(&mut self, int: i64) {
        self.stack.push(Value::Int(int));
    }

    fn long(&mut self, bytes: &mut Bytes<'_>) -> Result<()> {
        let n = bytes.u8()?.into();
        let digits = bytes.take(n)?;
        if n > 8 {
            bail!("it has a number of {n} bytes");
        }
        let negative = digits.last().is_some_and(|&byte| byte >= 0x80);
        let mut whole = [if negative { 0xff } else { 0 }; 8];
        whole[..n].copy_from_slice(digits);
        self.int(i64::from_le_bytes(whole));
        Ok(())
    }

    fn pop(&mut self) -> Result<Value> {
        self.stack.pop().context("its stack is empty")
    }

    fn pop_text(&mut self) -> Result<Rc<str>> {
        match self.pop()? {
            Value::Text(text) => Ok(text),
            _ => bail!("it has something else where a text belongs"),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.stack.iter().rposition(|value| matches!(value, Value::Mark));
        let mark = mark.context("a mark is missing in its pickle")?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn remember(&mut self, place: u32) -> Result<()> {
        let value = self.stack.last().context("its stack is empty")?.clone();
        self.memo.insert(place, value);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<()> {
        let value = self.memo.get(&place).context("it recalls what it did not remember")?;
        self.stack.push(value.clone());
        Ok(())
    }

    fn pop_tuple(&mut self) -> Result<Vec<Value>> {
        match self.pop()? {
            Value::Object(at) => self.tuple(at),
            _ => bail!("it has something else where a tuple belongs"),
        }
    }

    fn tuple(&self, at: usize) -> Result<Vec<Value>> {
        match &self.objects[at] {
            Object::Tuple(items) => Ok(items.clone()),
            _ => bail!("it has something else where a tuple belongs"),
        }
    }

    /// The dictionary on top of the stack.
    fn dict(&mut self) -> Result<&mut Vec<(Value, Value)>> {
        match self.stack.last() {
            Some(&Value::Object(at)) => match &mut self.objects[at] {
                Object::Dict(entries) => Ok(entries),
                _ => bail!("it has something else where a dictionary belongs"),
            },
            _ => bail!("it has something else where a dictionary belongs"),
        }
    }

    /// The list on top of the stack.
    fn list(&mut self) -> Result<&mut Vec<Value>> {
        match self.stack.last() {
            Some(&Value::Object(at)) => match &mut self.objects[at] {
                Object::List(items) => Ok(items),
                _ => bail!("it has something else where a list belongs"),
            },
            _ => bail!("it has something else where a list belongs"),
        }
    }

    /// `('storage', torch.FloatStorage, '0', 'cpu', 4096)`
    fn storage(&mut self) -> Result<()> {
        let storage = self.pop_tuple()?;
        let [Value::Text(tag), Value::Known(Known::Storage(kind)), Value::Text(key), ..] =
            storage.as_slice()
        else {
            bail!("it refers to something that is no storage");
        };
        if &**tag != "storage" {
            bail!("it refers to a `{tag}`, and only to a `storage` it may");
        }
        self.push(Object::Storage(*kind, key.clone()));
        Ok(())
    }

    fn call(&mut self) -> Result<()> {
        let arguments = self.pop_tuple()?;
        match (self.pop()?, arguments.as_slice()) {
            (Value::Known(Known::OrderedDict), []) => self.push(Object::Dict(Vec::new())),
            (
                Value::Known(Known::RebuildTensor),
                [
                    Value::Object(storage),
                    Value::Int(offset),
                    Value::Object(size),
                    Value::Object(stride),
                    ..,
                ],
            ) => {
                let Object::Storage(kind, key) = &self.objects[*storage] else {
                    bail!("a tensor is made of something that is no storage");
                };
                let (kind, storage) = (*kind, key.to_string());
                let (size, stride) = (self.ints(*size)?, self.ints(*stride)?);
                self.push(Object::Tensor(View { kind, storage, offset: *offset, size, stride }));
            }
            (Value::Known(Known::RebuildParameter), [tensor @ Value::Object(at), ..])
                if matches!(self.objects[*at], Object::Tensor(_)) =>
            {
                self.stack.push(tensor.clone());
            }
            _ => bail!("it calls what cannot be called, or with other arguments"),
        }
        Ok(())
    }

    fn ints(&self, at: usize) -> Result<Vec<i64>> {
        let int = |value: Value| match value {
            Value::Int(int) => Ok(int),
            _ => bail!("a tensor's size is no number"),
        };
        self.tuple(at)?.into_iter().map(int).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pickle that builds this and stops.
    fn refused(body: &[u8]) -> String {
        let pickle = [b"\x80\x02", body, b"."].concat();
        format!("{:#}", tensors(&pickle).unwrap_err())
    }

    #[test]
    fn whatever_a_pickle_would_call_is_refused_by_name() {
        for (body, name) in [
            (&b"cos\nsystem\nX\x02\0\0\0id\x85R"[..], "`os.system`"),
            (b"cbuiltins\neval\nX\x01\0\0\x001\x85R", "`builtins.eval`"),
            (b"\x8c\x02nt\x8c\x06system\x93", "`nt.system`"),
            (b"ctorch.storage\n_load_from_bytes\n)R", "`torch.storage._load_from_bytes`"),
            (b"ctorch._utils\n_rebuild_device_tensor_from_numpy\n", "_from_numpy`"),
            // Names that only look like the allowed ones.
            (b"ccollections\nOrderedDict.__class__\n", "`collections.OrderedDict.__class__`"),
            (b"ctorch\nload\n", "`torch.load`"),
        ] {
            let said = refused(body);
            assert!(said.contains(name) && said.contains("not read"), "{said}");
        }
        // INST and OBJ, which make instances, and EXT codes.
        for body in [&b"(ios\nsystem\n"[..], b"(o", b"\x82\x01", b"\x81", b"P0\n"] {
            assert!(refused(body).contains("its pickle has the operation"));
        }
    }

    #[test]
    fn nonsense_is_an_error_and_never_a_panic_or_a_deep_recursion() {
        for body in [
            &b""[..],
            b"h\x05",
            b"t",
            b"s",
            b"R",
            b"Q",
            b"\x86",
            b"}b",
            b"K\x01}K\x02s",
            b"\x8a\xff",
            b"X\xff\xff\xff\xff",
            b")]e",
            b"}(K\x01u",
            b"ccollections\nOrderedDict\n(K\x01tR",
            b"ctorch._utils\n_rebuild_tensor_v2\n)R",
        ] {
            tensors(&[b"\x80\x02", body, b"."].concat()).unwrap_err();
        }
        // A million tuples, each inside the next.
        let deep = [vec![b')'], vec![0x85; 1_000_000]].concat();
        assert!(refused(&deep).contains("no dictionary"));
        // A list that holds itself, and doubling ones.
        assert!(refused(b"]q\0h\0a").contains("no dictionary"));
        let doubling = [&b")"[..], &b"q\0h\0\x86".repeat(100_000)].concat();
        assert!(refused(&doubling).contains("no dictionary"));
    }

    #[test]
    fn every_prefix_and_every_changed_byte_of_a_real_pickle_is_survived() {
        let pickle = b"\x80\x02}q\0X\x01\0\0\0wq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02((X\x07\0\0\0storageq\x03\
            ctorch\nFloatStorage\nq\x04X\x01\0\0\x000q\x05X\x03\0\0\0cpuq\x06K\x06tq\x07QK\0K\x02K\x03\x86q\x08K\x03K\x01\
            \x86q\x09\x89ccollections\nOrderedDict\nq\x0a)Rq\x0btq\x0cRq\x0ds.";
        let whole = tensors(pickle).unwrap();
        assert_eq!((&*whole["w"].size, &*whole["w"].stride), (&[2, 3][..], &[3, 1][..]));
        for end in 0..pickle.len() {
            tensors(&pickle[..end]).unwrap_err();
        }
        for at in 0..pickle.len() {
            for byte in [0, b'.', b'(', b'R', 0x85, 0xff] {
                let mut changed = pickle.to_vec();
                changed[at] = byte;
                let _ = tensors(&changed);
            }
        }
    }
}
