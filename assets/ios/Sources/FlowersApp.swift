import SwiftUI

@main
struct FlowersApp: App {
    var body: some Scene {
        WindowGroup {
            ContentView()
        }
    }
}
