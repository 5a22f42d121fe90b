"""Probability of given tokens: softmax of each line of logits over the tokens before the end of text."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import block_idx, thread_idx
from max.gpu.host import DeviceContext
from std.math import exp
from .aligned_text import EOT, N_TEXT_FIELDS, TEXT_FIELDS
from .argmax import NO_LOGIT, THREADS, empty_argmax_sum
from .pointers import F32, FloatPointer, IntPointer, pointer

comptime UNROLL = 8
"""Logits that a thread reads at once."""


def token_probs_kernel(
    output: FloatPointer,
    logits: FloatPointer,
    targets: IntPointer,
    texts: IntPointer,
    n_vocab: Int32,
):
    """Computes the probability of a line's token by each block; see `TokenProbs`."""
    var index = Int(block_idx.x)
    var line = logits.unsafe_offset(index * Int(n_vocab))
    var n_tokens = Int(texts[unsafe_offset=EOT])
    var all = empty_argmax_sum()
    for first in range(Int(thread_idx.x), n_tokens, THREADS * UNROLL):
        var logits_ahead = Array[Float32, UNROLL](fill=NO_LOGIT)
        var top = all.max_logit
        comptime for u in range(UNROLL):
            if first + u * THREADS < n_tokens:
                logits_ahead[u] = line[unsafe_offset=first + u * THREADS]
        comptime for u in range(UNROLL):
            top = max(top, logits_ahead[u])
        all.sum_exp *= exp(all.max_logit - top)
        all.max_logit = top
        comptime for u in range(UNROLL):
            all.sum_exp += exp(logits_ahead[u] - top)
    all.join_block()
    if thread_idx.x == 0:
        var target = Int(targets[unsafe_offset=index])
        output[unsafe_offset=index] = exp(line[unsafe_offset=target] - all.max_logit) / all.sum_exp


@extensibility.register("whisper_gpu_token_probs")
struct TokenProbs:
    @staticmethod
    def execute[
        target: StaticString, text_fields: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=1, ...],
        logits: InputTensor[dtype=F32, rank=3, ...],
        targets: InputTensor[dtype=DType.int32, rank=1, ...],
        texts: InputTensor[dtype=DType.int32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """Computes the probability of a token by each line of logits.

        Parameters:
            target: Device of the graph.
            text_fields: Python's order of a text's fields.

        Args:
            output: [n_lines].
            logits: [1, n_lines, n_vocab].
            targets: Tokens, [n_lines].
            texts: [n_rows, N_TEXT_FIELDS], whose ends of text are the same.
            ctx: Stream.
        """
        comptime assert text_fields == TEXT_FIELDS, "Python and Mojo differ in a text's fields"
        ctx.enqueue_function[token_probs_kernel](
            pointer(output),
            pointer(logits),
            pointer(targets),
            pointer(texts),
            Int32(logits.dim_size(2)),
            grid_dim=output.dim_size(0),
            block_dim=THREADS,
        )
