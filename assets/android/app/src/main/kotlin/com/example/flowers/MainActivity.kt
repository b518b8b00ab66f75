package com.example.flowers

import android.os.Bundle
import android.view.View
import android.widget.Button
import android.widget.ImageView
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.enableEdgeToEdge
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts.PickVisualMedia
import androidx.activity.viewModels
import androidx.lifecycle.Lifecycle
import androidx.lifecycle.lifecycleScope
import androidx.lifecycle.repeatOnLifecycle
import java.text.NumberFormat
import kotlinx.coroutines.launch

class MainActivity : ComponentActivity() {
    private val viewModel: MainViewModel by viewModels()
    private val picker = registerForActivityResult(PickVisualMedia()) { photo ->
        if (photo != null) viewModel.classify(photo)
    }

    override fun onCreate(savedInstanceState: Bundle?) {
        enableEdgeToEdge()
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_main)
        findViewById<Button>(R.id.choose).setOnClickListener {
            picker.launch(PickVisualMediaRequest(PickVisualMedia.ImageOnly))
        }
        lifecycleScope.launch {
            repeatOnLifecycle(Lifecycle.State.STARTED) {
                viewModel.state.collect { show(it) }
            }
        }
    }

    private fun show(state: State) {
        val done = state as? State.Done
        findViewById<View>(R.id.working).visibility =
            if (state is State.Working) View.VISIBLE else View.INVISIBLE
        findViewById<ImageView>(R.id.picture).setImageBitmap(done?.picture)
        findViewById<TextView>(R.id.result).text = when (state) {
            State.Empty, State.Working -> ""
            is State.Done -> state.labels.joinToString("\n") { text(it) }
            is State.Failed -> getString(state.message, state.reason)
        }
    }

    private fun text(label: Label): String {
        val percent = NumberFormat.getPercentInstance().apply { maximumFractionDigits = 1 }
        return getString(R.string.label, label.name, percent.format(label.probability.toDouble()))
    }
}
