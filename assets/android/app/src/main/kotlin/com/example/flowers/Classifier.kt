package com.example.flowers

import android.content.Context
import android.graphics.Bitmap
import android.graphics.ColorSpace
import android.graphics.ImageDecoder
import android.graphics.Rect
import android.net.Uri
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifier
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifier.ImageClassifierOptions
import java.nio.ByteBuffer

/** The model's file in app/src/main/assets. */
const val MODEL = "flowers.tflite"

private const val BEST = 3

data class Label(val name: String, val probability: Float)

/** The exported model. Its methods take long: call them off the main thread. */
class Classifier(context: Context) : AutoCloseable {
    private val resolver = context.contentResolver
    private val side = inputSide(ByteBuffer.wrap(context.assets.open(MODEL).use { it.readBytes() }))
    private val classifier = ImageClassifier.createFromOptions(
        context,
        ImageClassifierOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath(MODEL).build())
            .setMaxResults(BEST)
            .build()
    )

    /**
     * The upright photo as the model expects it: the shorter side is resized to 256/224 of the
     * model's, and the centre kept. MediaPipe would squash the photo to the model's square.
     */
    fun read(photo: Uri): Bitmap {
        val source = ImageDecoder.createSource(resolver, photo)
        val bitmap = ImageDecoder.decodeBitmap(source) { decoder, info, _ ->
            val shorter = minOf(info.size.width, info.size.height)
            val resized = (side * 256L + 112) / 224
            val width = (resized * info.size.width / shorter).toInt()
            val height = (resized * info.size.height / shorter).toInt()
            val left = (width - side) / 2
            val top = (height - side) / 2
            decoder.setTargetSize(width, height)
            decoder.crop = Rect(left, top, left + side, top + side)
            decoder.setTargetColorSpace(ColorSpace.get(ColorSpace.Named.SRGB))
            // MediaPipe can't read pixels that are in the GPU's memory.
            decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
        }
        if (bitmap.config == Bitmap.Config.ARGB_8888) return bitmap
        return checkNotNull(bitmap.copy(Bitmap.Config.ARGB_8888, false))
    }

    /** The most likely labels, best first. */
    @Synchronized
    fun classify(picture: Bitmap): List<Label> =
        classifier.classify(BitmapImageBuilder(picture).build())
            .classificationResult()
            .classifications()
            .flatMap { it.categories() }
            .map { Label(it.categoryName(), it.score()) }

    @Synchronized
    override fun close() = classifier.close()
}
