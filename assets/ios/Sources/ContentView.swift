import PhotosUI
import SwiftUI

struct ContentView: View {
    private enum Phase {
        case empty
        case working
        case done(Classifier.Outcome)
        case failed(String)
    }

    @State private var photo: PhotosPickerItem?
    @State private var phase = Phase.empty
    @State private var classifier = Classifier()

    var body: some View {
        ScrollView {
            VStack(spacing: 16) {
                PhotosPicker("Choose a photo", selection: $photo, matching: .images)
                    .buttonStyle(.borderedProminent)
                result
            }
            .frame(maxWidth: .infinity)
            .padding()
        }
        .task(id: photo) { await classify() }
    }

    @ViewBuilder private var result: some View {
        switch phase {
        case .empty:
            EmptyView()
        case .working:
            ProgressView()
        case .done(let outcome):
            Image(
                outcome.picture, scale: 1,
                label: Text("The part of the photo that was classified")
            )
            .resizable()
            .scaledToFit()
            .frame(maxWidth: 320)
            ForEach(outcome.predictions) { prediction in
                HStack {
                    Text(prediction.label)
                    Spacer()
                    Text(prediction.probability, format: .percent.precision(.fractionLength(0...1)))
                        .monospacedDigit()
                }
            }
        case .failed(let reason):
            Text(reason).foregroundStyle(.red)
        }
    }

    private func classify() async {
        guard let photo else { return }
        phase = .working
        do {
            guard let data = try await photo.loadTransferable(type: Data.self) else {
                throw Classifier.Failure.unreadablePhoto
            }
            let outcome = try await classifier.classify(data)
            // Another photo, chosen meanwhile, cancels this task.
            if !Task.isCancelled { phase = .done(outcome) }
        } catch {
            if !Task.isCancelled { phase = .failed(error.localizedDescription) }
        }
    }
}
