//! Token shards and a Llama -> a fine-tuned Llama as a Hugging Face folder, on libtorch.
//!
//! Modules stand in the order in which the data passes them, and each uses only those above it.
//!
//! # Invariants
//!
//! The same inputs give the same bytes: the order of the documents is a pure function of the configuration, nothing
//! depends on time or on the iteration order of a hash map, and a resumed run ends where an uninterrupted one does.
//! Autograd lives inside one unit of the model ([`params`]); the backward pass across units is ours ([`backward`]).

pub mod fault; // mistakes that tests plant, to see that tests find them
pub mod config; // a run's YAML -> a checked type
pub mod device; // where the model computes
pub mod llama_config; // config.json -> the model's shape
pub mod order; // (documents, seed) -> which document each sample is
pub mod learning; // a document's roles -> how much each of its tokens counts
pub mod rows; // documents -> what the model reads of them
pub mod pack; // lengths -> which documents share a row
pub mod batch; // documents -> micro-batches of tensors, rows padded or packed
pub mod noise; // where in a run and a model -> the noise that is added there
pub mod turns; // an update's micro-batches -> those that a rank computes, round by round
pub mod loader; // the order -> micro-batches, ahead of time
pub mod extent; // some of a tensor's numbers, in row order -> boxes of it
pub mod ranks; // the environment -> the processes that train together, and what they decide together
pub mod gather; // weights in parts on several ranks -> whole units, when they are needed
pub mod units; // a model's shape -> the name of each parameter, and where it lies
pub mod slots; // units -> the buffers in which they are whole, one after the other
pub mod params; // the model's parameters, unit by unit, in flat buffers, sharded over ranks
pub mod memory; // a configuration and a shape -> how much memory a rank takes
pub mod traffic; // the same -> how much a rank sends to others in a step
pub mod flops; // documents -> how much there is to compute
pub mod stored; // files with tensors -> tensors by name, or parts of them
pub mod weights; // stored tensors <-> parameters, safetensors files
pub mod chat; // how one speaks to a model, and what ends its answers
pub mod hf_tokenizer; // a tokenizer <-> its files in a Hugging Face folder
pub mod meta; // Meta's own files -> a shape, and stored tensors by Hugging Face's names
pub mod new_rows; // a base's vocabulary -> one with the datamix's new tokens
pub mod adapter; // LoRA's adapters <-> a folder of peft's
pub mod merged; // a base and an adapter -> the weights of one model
pub mod init; // a shape and a seed -> a random base model
pub mod model; // token ids -> hidden states -> logits
pub mod streamed; // a model on disk -> logits, one block in memory at a time
pub mod loss; // hidden states -> cross-entropy and its gradients, a chunk of logits at a time
pub mod replicas; // gradients that each of several groups of ranks has added up -> their sum
pub mod gradients; // gradients of micro-batches -> their sum, over ranks too
pub mod backward; // a micro-batch -> gradients, unit by unit
pub mod pipeline; // the micro-batches of an update -> gradients, through ranks that have some units each
pub mod schedule; // update -> learning rate
pub mod snapshot; // buffers that training goes on with -> what they held at one moment
pub mod optimizer; // gradients -> new parameters
pub mod evaluate; // documents -> how well the model predicts them
pub mod state; // where a run stands
pub mod checkpoint; // model, optimizer and state <-> disk, bit for bit
pub mod origin; // a configuration -> the hashes of the files that the run begins with
pub mod saver; // checkpoints, written while training goes on
mod documents; // a configuration and its shards -> which documents are used, for how many steps, and what of them counts
mod validation; // a configuration and its shards -> the documents of each evaluation
mod fit; // do configuration, base and shards belong together?
pub mod step; // what a step did, and how long its parts took
pub mod run; // a configuration -> a run that is ready to make its next step
pub mod plan; // a configuration -> what its run would take
pub mod same_run; // a run's configuration, and the one it was begun with -> whether it is the same run
pub mod run_folder; // a run's folder -> the right to write into it
pub mod metrics; // what was measured -> lines, and metrics.jsonl
pub mod tensorboard; // lines -> TensorBoard's event file
pub mod wandb; // lines -> an offline run of Weights & Biases
pub mod logbook; // lines -> all of these, beside the training
pub mod preflight; // a configuration -> what all ranks must agree on before they start
mod console; // what happens in a run -> what is said of it on the console
pub mod train; // the loop: steps, evaluations, checkpoints, a safe end
pub mod launch; // a command line -> that many ranks of it on this machine
pub mod trained; // a run's folder -> its newest checkpoint and the tokenizer it was trained with
pub mod new_tokens; // the tokens that a datamix added -> how often they were trained, and what became of them
pub mod model_card; // a run -> README.md of its export
pub mod proof; // an exported folder and what was trained -> that they are the same
pub mod export; // a checkpoint -> a Hugging Face folder, proved
pub mod convert; // a folder, a checkpoint, Meta's files -> a folder in another kind of number, in other files
pub mod merge; // a Hugging Face folder and an adapter -> the merged model's folder
pub mod warp; // logits -> the distribution that the next token is drawn from
pub mod sample; // prompts -> answers
pub mod report; // a list of prompts -> a report to read
