plugins {
    id("com.android.application")
}

android {
    namespace = "com.example.flowers"
    compileSdk = 37

    defaultConfig {
        applicationId = "com.example.flowers"
        // MediaPipe needs 24; 28 brings ImageDecoder, which turns photos upright, HEIC included.
        minSdk = 28
        targetSdk = 37
        versionCode = 1
        versionName = "1.0"
    }
}

dependencies {
    implementation("androidx.activity:activity-ktx:1.13.0")
    implementation("androidx.lifecycle:lifecycle-runtime-ktx:2.11.0")
    implementation("androidx.lifecycle:lifecycle-viewmodel-ktx:2.11.0")
    implementation("com.google.mediapipe:tasks-vision:1.0.0")
}
