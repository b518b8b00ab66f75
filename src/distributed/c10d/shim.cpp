// A C interface to PyTorch's collectives (c10d). Every function returns null, or what went wrong as text
// that `flowers_c10d_free` frees; no exception leaves it.

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <c10/util/Logging.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#ifdef FLOWERS_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

namespace {

using std::chrono::milliseconds;

struct Store {
  c10::intrusive_ptr<c10d::Store> store;
};

struct Group {
  c10::intrusive_ptr<c10d::Backend> backend;
  // Whether tensors have to be in host memory.
  bool on_host;
  milliseconds timeout;
};

char* text(const std::string& message) {
  // An empty message is one nevertheless.
  return strdup(message.empty() ? "unknown error" : message.c_str());
}

char* guarded(const std::function<void()>& work) {
  try {
    work();
    return nullptr;
  } catch (const c10::Error& error) {
    return text(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return text(error.what());
  } catch (...) {
    return text("unknown exception");
  }
}

// What c10d throws is reported by whoever catches it; its log repeats it with stack traces.
void quieten() {
  if (getenv("TORCH_CPP_LOG_LEVEL") == nullptr) {
    FLAGS_caffe2_log_level = 3;
  }
}

// NCCL's own waiting ends in the stream of the GPU: without this, a process whose peer hangs would hang
// in whatever reads a result.
void wait_for_gpu(Group* group, c10d::Work& work) {
  auto until = std::chrono::steady_clock::now() + group->timeout;
  while (!work.isCompleted()) {
    TORCH_CHECK(std::chrono::steady_clock::now() < until, "NCCL timed out");
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  if (auto error = work.exception()) {
    std::rethrow_exception(error);
  }
}

// Runs a collective on each tensor, all at once, on copies in host memory where that is needed.
void each(
    Group* group,
    at::Tensor** tensors,
    size_t count,
    const std::function<c10::intrusive_ptr<c10d::Work>(std::vector<at::Tensor>&)>& begin) {
  std::vector<at::Tensor> sent;
  std::vector<c10::intrusive_ptr<c10d::Work>> begun;
  for (size_t i = 0; i < count; ++i) {
    const at::Tensor& tensor = *tensors[i];
    sent.push_back(group->on_host && !tensor.is_cpu() ? tensor.cpu() : tensor);
    std::vector<at::Tensor> one{sent.back()};
    begun.push_back(begin(one));
  }
  for (auto& work : begun) {
    if (!group->on_host) {
      wait_for_gpu(group, *work);
    }
    work->wait();
  }
  for (size_t i = 0; i < count; ++i) {
    if (!sent[i].is_same(*tensors[i])) {
      tensors[i]->copy_(sent[i]);
    }
  }
}

} // namespace

extern "C" {

void flowers_c10d_free(char* message) {
  free(message);
}

// A store at an address; where `listener` is the descriptor of a listening socket, it is served there and
// the socket taken over.
char* flowers_c10d_store_open(
    const char* host,
    uint16_t port,
    int listener,
    int64_t timeout_ms,
    Store** store) {
  return guarded([&] {
    quieten();
    c10d::TCPStoreOptions options;
    options.port = port;
    options.waitWorkers = false;
    options.timeout = milliseconds(timeout_ms);
    if (listener >= 0) {
      options.isServer = true;
      options.masterListenFd = listener;
    }
    *store = new Store{c10::make_intrusive<c10d::TCPStore>(host, options)};
  });
}

void flowers_c10d_store_close(Store* store) {
  free(guarded([&] { delete store; }));
}

char* flowers_c10d_store_set(Store* store, const char* key, const char* value) {
  return guarded([&] { store->store->set(std::string(key), std::string(value)); });
}

// The value of a key that is there, else null.
char* flowers_c10d_store_get(Store* store, const char* key, char** value) {
  return guarded([&] {
    *value = nullptr;
    if (store->store->check({key})) {
      *value = strdup(store->store->get_to_str(key).c_str());
    }
  });
}

char* flowers_c10d_store_add(Store* store, const char* key, int64_t by, int64_t* sum) {
  return guarded([&] { *sum = store->store->add(key, by); });
}

// A group by way of a store, under a name. Without an address, Gloo binds that of the machine's name or of
// GLOO_SOCKET_IFNAME.
char* flowers_c10d_gloo_open(
    Store* store,
    const char* name,
    const char* address,
    int rank,
    int world,
    int64_t timeout_ms,
    Group** group) {
  return guarded([&] {
    quieten();
    auto prefixed = c10::make_intrusive<c10d::PrefixStore>(name, store->store);
    auto timeout = milliseconds(timeout_ms);
    c10::intrusive_ptr<c10d::ProcessGroupGloo::Options> options;
    if (address != nullptr) {
      options = c10d::ProcessGroupGloo::Options::create(timeout);
      options->devices.push_back(
          c10d::ProcessGroupGloo::createDeviceForHostname(address));
    } else {
      options = c10d::ProcessGroupGloo::Options::create_default(timeout);
    }
    *group = new Group{
        c10::make_intrusive<c10d::ProcessGroupGloo>(prefixed, rank, world, options),
        true,
        timeout};
  });
}

bool flowers_c10d_has_nccl() {
#ifdef FLOWERS_NCCL
  return true;
#else
  return false;
#endif
}

// Which GPU has an index, in hex.
char* flowers_c10d_gpu(int index, char** identity) {
  return guarded([&] {
#ifdef FLOWERS_NCCL
    static const char* digits = "0123456789abcdef";
    std::string hex;
    for (unsigned char byte : at::cuda::getDeviceProperties(index)->uuid.bytes) {
      hex += digits[byte >> 4];
      hex += digits[byte & 15];
    }
    *identity = strdup(hex.c_str());
#else
    TORCH_CHECK(false, "built without NCCL, GPU ", index, " is not told from others");
#endif
  });
}

char* flowers_c10d_nccl_open(
    Store* store,
    int rank,
    int world,
    int device,
    int64_t timeout_ms,
    Group** group) {
  return guarded([&] {
#ifdef FLOWERS_NCCL
    quieten();
    // Lost and hanging peers are noticed here, and told of; NCCL's watchdog would abort the process.
    setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0", 0);
    setenv("TORCH_NCCL_ENABLE_MONITORING", "0", 0);
    auto prefixed = c10::make_intrusive<c10d::PrefixStore>("nccl", store->store);
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = milliseconds(timeout_ms);
    auto backend =
        c10::make_intrusive<c10d::ProcessGroupNCCL>(prefixed, rank, world, options);
    backend->setBoundDeviceId(at::Device(at::kCUDA, device));
    *group = new Group{backend, false, milliseconds(timeout_ms)};
#else
    TORCH_CHECK(false, "built without NCCL");
#endif
  });
}

void flowers_c10d_group_close(Group* group) {
  free(guarded([&] {
    if (!group->on_host) {
      group->backend->shutdown();
    }
    delete group;
  }));
}

char* flowers_c10d_set_timeout(Group* group, int64_t timeout_ms) {
  return guarded([&] { group->backend->setTimeout(milliseconds(timeout_ms)); });
}

// Replaces each tensor by its sum over all processes.
char* flowers_c10d_all_reduce(Group* group, at::Tensor** tensors, size_t count) {
  return guarded([&] {
    each(group, tensors, count, [&](std::vector<at::Tensor>& one) {
      return group->backend->allreduce(one);
    });
  });
}

// Replaces each tensor by that of one process.
char* flowers_c10d_broadcast(Group* group, at::Tensor** tensors, size_t count, int root) {
  return guarded([&] {
    c10d::BroadcastOptions options;
    options.rootRank = root;
    each(group, tensors, count, [&](std::vector<at::Tensor>& one) {
      return group->backend->broadcast(one, options);
    });
  });
}

} // extern "C"
