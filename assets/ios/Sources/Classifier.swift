import CoreML
import Foundation
import ImageIO
import Vision

/// The exported model. As an actor it works off the main thread.
actor Classifier {
    /// Xcode compiles Flowers.mlpackage to Flowers.mlmodelc in the app's bundle.
    static let modelName = "Flowers"

    struct Prediction: Identifiable, Sendable {
        let label: String
        let probability: Float
        var id: String { label }
    }

    struct Outcome: Sendable {
        let picture: CGImage
        /// The three most likely labels, best first.
        let predictions: [Prediction]
    }

    enum Failure: LocalizedError {
        case noModel, notAClassifier, unreadablePhoto

        var errorDescription: String? {
            switch self {
            case .noModel:
                String(localized: "The app does not contain the model \(Classifier.modelName).")
            case .notAClassifier:
                String(localized: "The model does not give labels.")
            case .unreadablePhoto:
                String(localized: "The photo could not be read.")
            }
        }
    }

    private var loaded: VNCoreMLModel?

    func classify(_ photo: Data) throws -> Outcome {
        let picture = try centre(of: photo)
        let request = VNCoreMLRequest(model: try model())
        // centerCrop resizes the shorter side to the model's and cuts the longer one. Of a whole
        // photo it would keep a margin that the model does not expect: hence `centre(of:)`.
        request.imageCropAndScaleOption = .centerCrop
        try VNImageRequestHandler(cgImage: picture).perform([request])
        guard let labels = request.results as? [VNClassificationObservation], !labels.isEmpty else {
            throw Failure.notAClassifier
        }
        let best = labels.sorted { $0.confidence > $1.confidence }.prefix(3)
        return Outcome(
            picture: picture,
            predictions: best.map { Prediction(label: $0.identifier, probability: $0.confidence) }
        )
    }

    private func model() throws -> VNCoreMLModel {
        if let loaded { return loaded }
        guard let url = Bundle.main.url(forResource: Self.modelName, withExtension: "mlmodelc")
        else { throw Failure.noModel }
        let model = try VNCoreMLModel(for: MLModel(contentsOf: url))
        loaded = model
        return model
    }

    /// The central square of the upright photo, 224/256 of its shorter side: what the model
    /// expects.
    private func centre(of photo: Data) throws -> CGImage {
        let options: [CFString: Any] = [
            kCGImageSourceCreateThumbnailFromImageAlways: true,
            kCGImageSourceCreateThumbnailWithTransform: true,
            kCGImageSourceThumbnailMaxPixelSize: 2048,
        ]
        guard let source = CGImageSourceCreateWithData(photo as CFData, nil),
              let upright = CGImageSourceCreateThumbnailAtIndex(source, 0, options as CFDictionary)
        else { throw Failure.unreadablePhoto }
        let side = max(1, min(upright.width, upright.height) * 224 / 256)
        let square = CGRect(
            x: (upright.width - side) / 2, y: (upright.height - side) / 2, width: side, height: side
        )
        guard let centre = upright.cropping(to: square) else { throw Failure.unreadablePhoto }
        return centre
    }
}
