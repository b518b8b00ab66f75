package com.example.flowers

import android.app.Application
import android.graphics.Bitmap
import android.net.Uri
import androidx.lifecycle.AndroidViewModel
import androidx.lifecycle.viewModelScope
import java.io.IOException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

sealed interface State {
    data object Empty : State
    data object Working : State
    data class Done(val picture: Bitmap, val labels: List<Label>) : State
    data class Failed(val message: Int, val reason: String) : State
}

/** Keeps the model and the last result while the screen turns. */
class MainViewModel(application: Application) : AndroidViewModel(application) {
    private val mutableState = MutableStateFlow<State>(State.Empty)
    val state: StateFlow<State> = mutableState.asStateFlow()

    private val classifier by lazy {
        Classifier(getApplication<Application>()).also { addCloseable(it) }
    }
    private var job: Job? = null

    fun classify(photo: Uri) {
        job?.cancel()
        job = viewModelScope.launch {
            mutableState.value = State.Working
            mutableState.value = withContext(Dispatchers.Default) { result(photo) }
        }
    }

    private fun result(photo: Uri): State {
        var step = R.string.no_model
        return try {
            val classifier = classifier
            step = R.string.no_photo
            val picture = classifier.read(photo)
            step = R.string.no_result
            State.Done(picture, classifier.classify(picture))
        } catch (e: IOException) {
            State.Failed(step, e.reason())
        } catch (e: RuntimeException) {
            // MediaPipe's errors, a photo that may no longer be read, a file that is not a model.
            State.Failed(step, e.reason())
        }
    }

    private fun Exception.reason() = message ?: toString()
}
