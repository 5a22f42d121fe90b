"""Probability of no speech: softmax of one token's logit after <|startoftranscript|>."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import block_idx, thread_idx
from max.gpu.host import DeviceContext
from std.math import exp
from .argmax import THREADS, empty_argmax_sum
from .pointers import F32, FloatPointer, IntPointer, pointer
from .token_rules import NO_SPEECH, RULE_FIELDS, group_of


def no_speech_prob_kernel(
    output: FloatPointer, logits: FloatPointer, rules: IntPointer, n_vocab: Int32, n_group: Int32
):
    """Computes the probability of a row by each block; NaN where the rules name no token.

    Args:
        output: [n_rows].
        logits: [n_lines, n_vocab].
        rules: [N_RULES].
        n_vocab: Size of the vocabulary.
        n_group: Rows that share a line.
    """
    var row = Int(block_idx.x)
    var line = logits.unsafe_offset(row // Int(n_group) * Int(n_vocab))
    var all = empty_argmax_sum()
    for i in range(Int(thread_idx.x), Int(n_vocab), THREADS):
        all.add(line[unsafe_offset=i], Int32(i))
    all.join_block()
    if thread_idx.x == 0:
        var token = Int(rules[unsafe_offset=NO_SPEECH])
        var nan = (all.max_logit - all.max_logit) / (all.max_logit - all.max_logit)
        output[unsafe_offset=row] = (
            exp(line[unsafe_offset=token] - all.max_logit) / all.sum_exp if token >= 0 else nan
        )


@extensibility.register("whisper_gpu_no_speech_prob")
struct NoSpeechProb:
    @staticmethod
    def execute[
        target: StaticString, rule_fields: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=1, ...],
        logits: InputTensor[dtype=F32, rank=3, ...],
        rules: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Computes each row's probability of no speech after <|startoftranscript|>.

        Parameters:
            target: Device of the graph.
            rule_fields: Python's order of the rules.

        Args:
            output: [n_rows].
            logits: [1, 2 * n_windows, n_vocab], the lines after <|startoftranscript|> first.
            rules: [N_RULES].
            ctx: Stream.
        """
        comptime assert rule_fields == RULE_FIELDS, "Python and Mojo differ in the rules' order"
        var _, n_group = group_of[is_first=True](logits.dim_size(1), output.dim_size(0))
        ctx.enqueue_function[no_speech_prob_kernel](
            pointer(output),
            pointer(logits),
            pointer(rules),
            Int32(logits.dim_size(2)),
            n_group,
            grid_dim=output.dim_size(0),
            block_dim=THREADS,
        )
