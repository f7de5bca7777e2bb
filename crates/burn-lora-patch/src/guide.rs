//! The guide: LoRA on a Burn model, from choosing layers to resuming a run. There is no code in here.
//!
//! # LoRA in five sentences
//!
//! A linear layer computes `y = x W + b`, and fine-tuning changes `W: [d_in, d_out]`. LoRA
//! (arXiv 2106.09685) leaves `W` as it is and learns the change as a product of two small factors,
//! `W' = W + scale · A B` with `A: [d_in, rank]`, `B: [rank, d_out]` and `scale = alpha / rank`. B starts at
//! zero, so that training starts at the base model. What is trained, kept by an optimiser and saved is a few
//! per cent of the model; everything else requires no gradients. Merged into the weight for inference it
//! costs nothing.
//!
//! # Choosing layers, and finding their paths
//!
//! A path is what a Burn visitor walks through, fields and list positions joined by dots, with a
//! trailing underscore of a field dropped: `layers.0.mha.query`. Other people's models have segments that
//! are no fields of theirs (`h.0.mlp.Mlp.linear1`). The report's table lists them all:
//!
//! ```
//! use burn::nn::transformer::TransformerEncoderConfig;
//! use burn_lora_patch::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = burn_lora_patch::device::parse("cpu")?.autodiff();
//! let model = TransformerEncoderConfig::new(16, 32, 2, 1).init(&device);
//! print!("{}", model.plan_lora(&LoraConfig::new(8))?.table());
//! // linear                    in x out  adapter  status
//! // layers.0.mha.query         16 x 16      256  adapted
//! // …
//! # Ok(())
//! # }
//! ```
//!
//! [`Targets`](crate::Targets) are names (the end of a path from a dot on), a pattern of whole paths, or
//! `"all-linear"`. Whatever picks nothing is an error with the nearest names. `with_rank_pattern` and `with_alpha_pattern` give
//! layers another rank or alpha. `with_exclude` takes layers, and modules with all in them, out again; `with_heads` names output layers, which `all-linear` leaves out;
//! `with_trainable_token_indices` trains rows of the token table alone, of new tokens above all.
//! `with_modules_to_save` names modules that are trained whole and saved with the adapter. With a task such
//! as `TaskType::SeqCls` the head is trained whole too: `classifier` or `score`, or what `with_heads` says.
//!
//! # Where training starts
//!
//! [`with_init`](crate::LoraConfig::with_init): A drawn and B zero ([`Init::Kaiming`](crate::Init), the default, and `Gaussian`);
//! both drawn with a product of zero (`Orthogonal`); or parts of the weight itself, the rest of which stays frozen
//! (`Pissa` and `PissaNiter`, arXiv 2404.02948; `Olora`, arXiv 2406.01775). The latter do not write to the base: what
//! they took out of it is kept with the factors, unloading gives the base back bit for bit, and such an adapter is saved
//! as plain LoRA of twice the rank for the base as it is. Their decompositions run on one thread of the host when the
//! model is patched: an exact one takes time with the cube of the width. `Eva` starts along what goes into the layers, which
//! the model has to be shown first: see [`Eva`](crate::Eva); [`Loftq`](crate::Loftq) at what weights lost in the format that
//! they are held in.
//!
//! # When which path is taken
//!
//! The change hangs on the weight, so no model code has to change. What runs depends on what the model
//! calls:
//!
//! - **Factored**: a model that calls
//!   [`linear.lora_forward(x)`](crate::LoraForward::lora_forward) in the place of `linear.forward(x)` computes
//!   `x W + scale · (x A) B`, and its backward pass, derived by hand, forms neither `A B` nor a gradient of
//!   `W`. Without an adapter, and for a layer that is trained whole, it is `Linear::forward`.
//!   [`lora_forward_together([&q, &k, &v], x)`](crate::lora_forward_together) is the same of several layers of one input, which on
//!   CPUs is read once for all of them, as its gradient is written.
//! - **Composed**: an unchanged model multiplies with `W + scale · A B`, formed for every pass, and
//!   backpropagates through it. The result is the same up to the order of sums; it takes more time and
//!   memory. On SmolLM2-135M's shape (4 x 64 tokens, rank 16, all linears, two cores, Flex) training with
//!   composed weights, as Burn's own `apply_lora` does it, reaches 0.56 of the factored path's tokens a
//!   second and takes 1.46 times its memory.
//!
//! Each operation on each backend: fused into kernels of this project, or composed of the backend's own.
//!
//! | | Flex | NdArray | wgpu, CUDA |
//! | --- | --- | --- | --- |
//! | `lora_forward`, forward and backward | fused: products that add to what is there, narrow ones spread over the cores | composed | composed; every product by one kernel that keeps f32 in f32 |
//! | `lora_forward_together` | fused: one piece of work for all layers, forward and for the gradient of their input | layer by layer | layer by layer |
//! | a base of f16 or bf16 under f32 | fused: converted a tile at a time, inside the product | has no such formats | the input is rounded to the weight's format, sums and output are f32 |
//! | DoRA's norms of columns | composed, a tile at a time | composed, a tile at a time | composed, a tile at a time |
//! | merging; `Linear::forward` on an adapted weight | composed | composed | composed |
//!
//! With `with_dropout`, `lora_forward` drops each element of the input of A, as PEFT does. Composed weights know
//! no inputs: there one mask is drawn for all rows of a pass (variational dropout, arXiv 1512.05287). Both act
//! on autodiff devices only, so `model.valid()` is free of them. (`Module::materialize` on a model in training
//! mode folds such a mask in: [`merge_and_unload_lora`](crate::LoraModule::merge_and_unload_lora) does not.)
//!
//! # A layer of your own
//!
//! A linear layer is a 2-D parameter `weight` in a struct called `Linear`. Say so of structs of other names,
//! and of ones that hold `[d_out, d_in]` as PyTorch does (with a bias beside it this is seen from the shapes):
//!
//! ```
//! use burn::module::{Module, Param};
//! use burn::tensor::Tensor;
//! use burn_lora_patch::prelude::*;
//!
//! #[derive(Module, Debug)]
//! struct Dense {
//!     weight: Param<Tensor<2>>,
//! }
//!
//! #[derive(Module, Debug)]
//! struct Model {
//!     dense: Dense,
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let device = burn_lora_patch::device::parse("cpu")?;
//! # let weight = Param::from_tensor(Tensor::<2>::ones([6, 4], &device));
//! # let model = Model { dense: Dense { weight } };
//! let config = LoraConfig::new(2).with_targets("dense").with_linear_type("Dense", Layout::OutIn);
//! let (model, report) = model.with_lora(&config)?;
//! assert_eq!((report.layers()[0].d_in, report.layers()[0].d_out), (4, 6));
//! # let _ = model;
//! # Ok(())
//! # }
//! ```
//!
//! The layer reads its weight with `weight.val()`, which is the changed one.
//!
//! # Embeddings and convolutions
//!
//! Targets that name them pick them; `all-linear` does not. Embeddings by LoRA and DoRA; Burn's `Conv1d`, `Conv2d` and `Conv3d` by
//! LoRA, DoRA, LoRA-FA and MiSS (which PEFT has for linear layers alone), whatever
//! the stride, the padding and the dilation; with groups the rank is one that they divide, but for MiSS. An unchanged model composes the kernel,
//! a product as small as the kernel itself whatever the size of an image, and the gradient goes through the kernel;
//! [`conv.lora_forward(x)`](crate::ConvForward::lora_forward) in the place of `conv.forward(x)` convolves with the factors and never
//! computes a gradient of the kernel.
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::conv::{Conv2d, Conv2dConfig};
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::Tensor;
//! use burn_lora_patch::prelude::*;
//!
//! #[derive(Module, Debug)]
//! struct Eye {
//!     conv: Conv2d,
//!     head: Linear,
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = burn_lora_patch::device::parse("cpu")?.autodiff();
//! let eye = Eye {
//!     conv: Conv2dConfig::new([4, 8], [3, 3]).with_dilation([2, 2]).with_groups(2).init(&device),
//!     head: LinearConfig::new(8, 3).init(&device),
//! };
//! let (eye, report) = eye.with_lora(&LoraConfig::new(4).with_targets(["conv", "head"]))?;
//! assert!(report.to_string().contains("adapted: 1 of 1 linears, 1 convolution"));
//! let x = Tensor::<4>::ones([2, 4, 9, 9], &device);
//! assert_eq!(eye.conv.forward(x).dims(), [2, 8, 5, 5]);
//! let merged = eye.merge_and_unload_lora()?;
//! # let _ = merged;
//! # Ok(())
//! # }
//! ```
//!
//! PEFT's adapters on convolutions with groups see the channels of all groups. They load with a warning: such a layer has to be called by
//! `lora_forward`, and is merged beside the base ([`merge`](crate::merge)), which PEFT does not do at all, but never for good.
//!
//! # A training loop
//!
//! Nothing of it is special: gradients exist for the factors and for what is trained whole, and an optimiser
//! keeps state for those alone.
//!
//! ```
//! use burn::nn::{Linear, LinearConfig};
//! use burn::optim::{AdamWConfig, GradientsParams};
//! use burn::tensor::Tensor;
//! use burn_lora_patch::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = burn_lora_patch::device::parse("cpu")?.autodiff();
//! let model: Linear = LinearConfig::new(8, 8).init(&device);
//! // The model is one linear layer itself: its path is empty, and `all-linear` takes it.
//! let (mut model, _) = model.with_lora(&LoraConfig::new(2))?;
//! let mut optimizer = AdamWConfig::new().init();
//! for _ in 0..3 {
//!     let x = Tensor::<2>::ones([4, 8], &device);
//!     let loss = model.lora_forward(x).powi_scalar(2).mean();
//!     let gradients = GradientsParams::from_grads(loss.backward(), &model);
//!     model = optimizer.step(1e-3, model, gradients);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`trainable_group`](crate::LoraModule::trainable_group) is what is trained as a Burn `ParamGroup`,
//! [`trainable_factors`](crate::trainable_factors) tells A from B (for LoRA+).
//!
//! # burn-train's learner, and resume
//!
//! A patched model goes into `Learner` as any other. burn-train's default checkpointers write the whole model
//! once an epoch; `train::AdapterCheckpointer` (feature `train`) writes the adapter alone. A run is resumed by
//! patching the base anew and naming the epoch; it goes on bit for bit where the data loader brings each
//! epoch the same batches (Burn's shuffling loader begins with its first order again).
//! `LearningResult::model` is in validation mode: nothing of it requires gradients until `.train()`.
//! Everything in this crate is `Send`: a run may go on another thread.
//!
//! # What moves besides
//!
//! - **Statistics** (`BatchNorm`): held still, as in inference, while an adapter is trained, and said in the
//!   report. A norm named in `modules_to_save` is trained, and its statistics are saved with it. State of
//!   your own (`RunningState`) without a flag beside it cannot be stopped: it is saved with the adapter.
//! - **Dropout layers** of the model go on dropping, as in PEFT.
//! - `Module::freeze` before patching turns both off for the whole model; `Module::unfreeze` after unloading turns
//!   everything on, the base included. State that is hidden from visitors (`#[module(skip)]`) is neither seen
//!   nor stopped.
//!
//! # Several adapters
//!
//! `with_lora` under another name ([`LoraConfig::with_name`](crate::LoraConfig::with_name)) adds one; it is
//! trained, and those that were there stay in force, frozen.
//! [`with_active_adapters`](crate::LoraModule::with_active_adapters) chooses which are in force,
//! [`lora_scale`](crate::LoraModule::lora_scale) how much of one,
//! [`save_named_adapter`](crate::LoraModule::save_named_adapter),
//! [`load_adapter_with`](crate::LoraModule::load_adapter_with) and
//! [`load_into_adapter`](crate::LoraModule::load_into_adapter) go by name.
//! [`combine_adapters`](crate::LoraModule::combine_adapters) makes one of several,
//! [`swap_adapter`](crate::LoraModule::swap_adapter) puts one of another rank in the place of one,
//! [`with_adapters_disabled`](crate::LoraModule::with_adapters_disabled) computes with the base for once,
//! [`by_row`](crate::LoraModule::by_row) with an adapter for each row of a batch. Each changes the weight of the base,
//! not another one's result, so that their order means nothing. Modules trained whole exist once, so an
//! adapter that has any stands alone.
//!
//! # The base back
//!
//! A multiplier of 0, no active adapter, and [`unload_lora`](crate::LoraModule::unload_lora) all give the
//! base's own weights, bit for bit. A head that was trained whole has no multiplier and stays trained: keep
//! `let base = model.clone();` from before patching, which copies no weights and is untouched by all that
//! follows.
//!
//! # What Burn's records hold
//!
//! `into_record` of a patched model holds base and factors, merged or not, and loads into a model that is
//! patched alike; loading into a merged model unmerges it. It cannot load into an unpatched one, nor a
//! base's record into a patched one without `allow_partial(true)`: load the base, then patch it. (A merged model
//! goes on multiplying with what it merged if a record of the base alone is loaded into it: unmerge it first.)
//! A record of the adapter alone is `model.into_record_group(model.trainable_group()?)`. Between programs, and
//! between PEFT and Burn, there are [PEFT's directories](crate::peft).
//!
//! # Number formats
//!
//! Weights of f32, f16 and bf16 are adapted, factors are f32. In a model that computes in 16 bits the composed
//! weight, the merged one and every output are in its own format. Others (f64, quantised) are refused when the
//! model is patched.
