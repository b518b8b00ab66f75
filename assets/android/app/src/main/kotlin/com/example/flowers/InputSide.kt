package com.example.flowers

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** "TFL3", which marks the FlatBuffer. */
private const val TFL3 = 0x334C4654

/**
 * The side of the picture that a .tflite file takes, which MediaPipe does not tell: from the
 * FlatBuffer, the second number of `subgraphs[0].tensors[subgraphs[0].inputs[0]].shape`.
 */
fun inputSide(model: ByteBuffer): Int {
    val file = model.duplicate().order(ByteOrder.LITTLE_ENDIAN)
    require(file.getInt(4) == TFL3) { "it is not a TensorFlow Lite file" }

    fun follow(offset: Int) = offset + file.getInt(offset)
    fun field(table: Int, slot: Int) =
        follow(table + file.getShort(table - file.getInt(table) + 4 + 2 * slot))
    fun element(vector: Int, index: Int) = vector + 4 + 4 * index

    val subgraph = follow(element(field(follow(0), 2), 0))
    val input = file.getInt(element(field(subgraph, 1), 0))
    val tensor = follow(element(field(subgraph, 0), input))
    return file.getInt(element(field(tensor, 0), 1))
}
