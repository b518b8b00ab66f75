// Brings its own Kotlin. Needs Gradle 9.6 and JDK 17.
plugins {
    id("com.android.application") version "9.4.0" apply false
}
