// Local attention on the CPU, and CReFF around it, each in one pass over its feature maps.
//
// A picture is cut into strips of STRIP columns. A strip is walked from top to bottom: of keys and values, the last K
// rows are kept in a ring that fits the second-level cache, packed as [channel][column], because channels of a whole
// feature map lie a multiple of a page apart and would evict one another. Weights exist for one row of the strip at a
// time. Pixels outside the picture are zeros in the ring: they score zero and weigh in the softmax, as published.
//
// All arithmetic on a pixel is the same wherever its strip begins and whichever thread works on it. Sums of gradients
// run in one order. So results do not depend on the number of threads.
//
// Feature maps are float32, (C, H, W), contiguous; the caller walks over the batch. Interface: the functions in
// extern "C" at the end. They return 0, or 1 if the window or a size cannot be.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace {

constexpr int LANES = 8, LINE = 16;  // floats in a vector, and in a cache line
typedef float Vec __attribute__((vector_size(LANES * sizeof(float))));
typedef float VecAnywhere __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float)), may_alias));
typedef int32_t IntVec __attribute__((vector_size(LANES * sizeof(int32_t))));

inline Vec load(const float* from) { return *reinterpret_cast<const VecAnywhere*>(from); }
inline void store(float* to, Vec x) { *reinterpret_cast<VecAnywhere*>(to) = x; }
inline Vec all(float x) { return x - Vec{}; }
inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }

// e^x for x <= 0, to a relative 2e-7: 2^n times a polynomial in what is left of x.
inline Vec exponential(Vec x) {
    x = larger(x, all(-87.0f));
    const Vec shifted = x * 1.44269504f + 12582912.0f;  // adding 1.5 * 2^23 leaves the nearest integer in the low bits
    const Vec n = shifted - 12582912.0f;
    const Vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // log(2) in two parts
    Vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + (r + 1.0f);
    const IntVec power = __builtin_convertvector(n, IntVec) << 23;
    return reinterpret_cast<Vec>(reinterpret_cast<IntVec>(p) + power);
}

// Distance of rows of channels: whole cache lines, so that few vectors lie across two of them, and an odd number, so
// that channels do not share sets of the cache.
constexpr int spaced(int columns) {
    const int lines = (columns + LINE - 1) / LINE;
    return (lines + 1 - lines % 2) * LINE;
}

// Memory that begins a cache line.
class Buffer {
  public:
    explicit Buffer(size_t size) : held(size + 2 * LINE) {}
    float* begin() {
        const uintptr_t at = reinterpret_cast<uintptr_t>(held.data()), bytes = LINE * sizeof(float);
        return held.data() + (bytes - at % bytes) % bytes / sizeof(float);
    }
    float* operator+(size_t offset) { return begin() + offset; }

  private:
    std::vector<float> held;
};

struct Shape {
    int channels, height, width;
    int64_t plane() const { return int64_t(height) * width; }
};

// The last `count` rows of a map, each [channel][column].
struct Ring {
    int channels, width, count;
    Buffer values;
    Ring(int channels, int width, int count)
        : channels(channels), width(width), count(count), values(size_t(channels) * width * count) {}
    float* row(int y) { return values + size_t((y % count + count) % count) * channels * width; }
    void clear(int y) { std::fill_n(row(y), size_t(channels) * width, 0.0f); }
};

// Copy columns left ... left + columns - 1 of row y of a map; zeros outside, and up to `width`.
void pack(const float* map, const Shape& shape, int y, int left, int columns, int width, float* to) {
    if (y < 0 || y >= shape.height) {
        std::fill_n(to, size_t(shape.channels) * width, 0.0f);
        return;
    }
    const int first = std::max(0, -left), last = std::min(columns, shape.width - left);
    const float* from = map + int64_t(y) * shape.width + left;
    for (int c = 0; c < shape.channels; ++c, from += shape.plane(), to += width) {
        std::fill(to, to + first, 0.0f);
        if (last > first) std::copy(from + first, from + last, to + first);
        std::fill(to + std::max(first, last), to + width, 0.0f);
    }
}

inline void store_some(float* to, Vec x, int count) {
    if (count >= LANES) {
        store(to, x);
    } else {
        float values[LANES];
        store(values, x);
        for (int i = 0; i < count; ++i) to[i] = values[i];
    }
}

// Inner products of a row's pixels with one row of the window: to[dx][x] = sum over c of a[c][x] b[c][x + dx].
template <int K>
void correlate(const float* a, int a_width, const float* b, int b_width, int channels, int columns, float* to,
               int to_width) {
    for (int x = 0; x < columns; x += LANES) {
        Vec sum[K] = {};
        const float *at = a + x, *bt = b + x;
        for (int c = 0; c < channels; ++c, at += a_width, bt += b_width) {
            const Vec query = load(at);
#pragma GCC unroll 16
            for (int dx = 0; dx < K; ++dx) sum[dx] += query * load(bt + dx);
        }
        for (int dx = 0; dx < K; ++dx) store(to + dx * to_width + x, sum[dx]);
    }
}

// Weighted sums over the window for BLOCK channels at one vector of pixels.
template <int K, int BLOCK>
inline void gather(const float* weights, int weights_width, const float* const* rows, int width, Vec* sum) {
    for (int j = 0; j < BLOCK; ++j) sum[j] = Vec{};
    for (int dy = 0; dy < K; ++dy) {
        const float* row = rows[dy];
#pragma GCC unroll 16
        for (int dx = 0; dx < K; ++dx) {
            const Vec weight = load(weights + (dy * K + dx) * weights_width);
#pragma GCC unroll 8
            for (int j = 0; j < BLOCK; ++j) sum[j] += weight * load(row + j * width + dx);
        }
    }
}

constexpr int BLOCK = 8;  // channels whose sums are in registers together

// Call to(c, sum) with the weighted sum of each channel at the pixels x ... x + LANES - 1.
template <int K, typename To>
void gather_channels(const float* weights, int weights_width, const float* const* rows, int width, int channels, int x,
                     To to) {
    const float* at[K];
    int c = 0;
    for (; c + BLOCK <= channels; c += BLOCK) {
        for (int dy = 0; dy < K; ++dy) at[dy] = rows[dy] + size_t(c) * width + x;
        Vec sum[BLOCK];
        gather<K, BLOCK>(weights + x, weights_width, at, width, sum);
        for (int j = 0; j < BLOCK; ++j) to(c + j, sum[j]);
    }
    for (; c < channels; ++c) {
        for (int dy = 0; dy < K; ++dy) at[dy] = rows[dy] + size_t(c) * width + x;
        Vec sum[1];
        gather<K, 1>(weights + x, weights_width, at, width, sum);
        to(c, sum[0]);
    }
}

// What one row of pixels sends to one row of the window:
// to[c][x] += sum over dx of weights[dx][x - dx] a[c][x - dx], where `weights` and `a` begin K - 1 columns before `to`.
template <int K, int COUNT>
inline void scatter(const float* weights, int weights_width, const float* a, int a_width, float* to, int to_width) {
    Vec sum[COUNT];
    for (int j = 0; j < COUNT; ++j) sum[j] = load(to + j * to_width);
#pragma GCC unroll 16
    for (int dx = 0; dx < K; ++dx) {
        const Vec weight = load(weights + dx * weights_width + K - 1 - dx);
#pragma GCC unroll 8
        for (int j = 0; j < COUNT; ++j) sum[j] += weight * load(a + j * a_width + K - 1 - dx);
    }
    for (int j = 0; j < COUNT; ++j) store(to + j * to_width, sum[j]);
}

template <int K>
void scatter_channels(const float* weights, int weights_width, const float* a, int a_width, int channels, int columns,
                      float* to, int to_width) {
    for (int x = 0; x < columns; x += LANES) {
        int c = 0;
        for (; c + BLOCK <= channels; c += BLOCK)
            scatter<K, BLOCK>(weights + x, weights_width, a + c * a_width + x, a_width, to + c * to_width + x, to_width);
        for (; c < channels; ++c)
            scatter<K, 1>(weights + x, weights_width, a + c * a_width + x, a_width, to + c * to_width + x, to_width);
    }
}

// Turn a row's scores into weights that are not yet divided by their sum; give the divisor and log-sum-exp.
template <int ENTRIES>
void soften(float* scores, int width, int columns, float* inverse_sum, float* log_sum_exp) {
    for (int x = 0; x < columns; x += LANES) {
        Vec most = load(scores + x);
        for (int s = 1; s < ENTRIES; ++s) most = larger(most, load(scores + s * width + x));
        Vec sum = {};
        for (int s = 0; s < ENTRIES; ++s) {
            const Vec weight = exponential(load(scores + s * width + x) - most);
            store(scores + s * width + x, weight);
            sum += weight;
        }
        store(inverse_sum + x, 1.0f / sum);
        if (log_sum_exp)
            for (int i = 0; i < LANES; ++i) log_sum_exp[x + i] = most[i] + __builtin_logf(sum[i]);
    }
}

// Share the work items among threads; an item's result does not depend on who does it.
template <typename Work>
void share(int count, int threads, Work work) {
    std::atomic<int> next{0};
    auto run = [&] {
        for (int item; (item = next++) < count;) work(item);
    };
    std::vector<std::thread> others;
    for (int i = 1; i < std::min(threads, count); ++i) others.emplace_back(run);
    run();
    for (auto& other : others) other.join();
}

// Strips, and parts of them where there are too few to share.
struct Parts {
    int height, strip, across, rows, down;
    Parts(const Shape& shape, int strip)
        : height(shape.height),
          strip(strip),
          across((shape.width + strip - 1) / strip),
          rows(std::clamp(shape.height * across / 16, 16, 96)),
          down((shape.height + rows - 1) / rows) {}
    int count() const { return across * down; }
    int left(int item) const { return item % across * strip; }
    int top(int item) const { return item / across * rows; }
    int bottom(int item) const { return std::min(height, top(item) + rows); }
};

constexpr int rounded(int columns) { return (columns + LANES - 1) / LANES * LANES; }

// ---- forward ----

constexpr int STRIP = 240;

struct PlainSource {
    const float *query_map, *key_map, *value_map;
    Shape shape;
    int left;
    void query(int y, int columns, int width, float* to) { pack(query_map, shape, y, left, columns, width, to); }
    void key_and_value(int y, int radius, int columns, int width, float* key, float* value) {
        pack(key_map, shape, y, left - radius, columns, width, key);
        pack(value_map, shape, y, left - radius, columns, width, value);
    }
    Vec residual(int, int) const { return Vec{}; }
};

template <int K, typename Source>
void attend_part(Source& source, const Shape& shape, int left, int top, int bottom, float* out, float* log_sum_exp) {
    constexpr int RADIUS = K / 2, WINDOWED = STRIP + rounded(2 * RADIUS), WIDTH = spaced(WINDOWED);
    constexpr int PIXELS = spaced(STRIP);
    const int columns = std::min(STRIP, shape.width - left), wide = rounded(columns);
    Ring keys(shape.channels, WIDTH, K), values(shape.channels, WIDTH, K);
    Buffer query(size_t(shape.channels) * PIXELS), scores(K * K * STRIP);
    float inverse_sum[STRIP], row_log_sum_exp[STRIP];
    for (int y = top - RADIUS; y < bottom + RADIUS; ++y) {
        source.key_and_value(y, RADIUS, wide + rounded(2 * RADIUS), WIDTH, keys.row(y), values.row(y));
        const int now = y - RADIUS;  // the last row that has its whole window
        if (now < top) continue;
        source.query(now, wide, PIXELS, query.begin());
        const float* rows[K];
        for (int dy = 0; dy < K; ++dy) {
            rows[dy] = values.row(now + dy - RADIUS);
            correlate<K>(query.begin(), PIXELS, keys.row(now + dy - RADIUS), WIDTH, shape.channels, wide,
                         scores + dy * K * STRIP, STRIP);
        }
        soften<K * K>(scores.begin(), STRIP, wide, inverse_sum, log_sum_exp ? row_log_sum_exp : nullptr);
        if (log_sum_exp) std::copy_n(row_log_sum_exp, columns, log_sum_exp + int64_t(now) * shape.width + left);
        for (int x = 0; x < wide; x += LANES) {
            const Vec scale = load(inverse_sum + x);
            float* to = out + int64_t(now) * shape.width + left + x;
            gather_channels<K>(scores.begin(), STRIP, rows, WIDTH, shape.channels, x, [&](int c, Vec sum) {
                store_some(to + c * shape.plane(), sum * scale + source.residual(c, x), columns - x);
            });
        }
    }
}

// ---- CReFF ----

struct Convolution {
    const float *weight, *bias;  // (C, 3, 3), (C); depthwise
};

// Where a position of a resized axis lies in the original one, corners aligned.
struct Place {
    int before, after;
    float share;
    Place(int position, int length, int original) {
        const float at = length > 1 ? position * (float(original - 1) / float(length - 1)) : 0.0f;
        before = std::min(int(at), original - 1);
        after = std::min(before + 1, original - 1);
        share = at - before;
    }
};

// Makes queries, keys and values of the two features as their rows are needed.
struct FusedSource {
    const float *warped, *low;
    Shape shape, low_shape;
    Convolution query_conv, key_conv, value_conv;
    int left, low_loaded, warped_loaded, resized_loaded, current = 0;
    Ring warped_rows, low_rows, resized_rows;  // begin RADIUS + 1, 1 and 1 columns before the strip
    std::vector<Place> places;

    FusedSource(const float* warped, const float* low, const Shape& shape, const Shape& low_shape, Convolution query,
                Convolution key, Convolution value, int left, int top, int radius)
        : warped(warped), low(low), shape(shape), low_shape(low_shape), query_conv(query), key_conv(key),
          value_conv(value), left(left), low_loaded(-1), warped_loaded(top - radius - 2), resized_loaded(top - 2),
          warped_rows(shape.channels, spaced(STRIP + rounded(2 * radius) + LANES), 3),
          low_rows(shape.channels, spaced(STRIP + LANES), 2), resized_rows(shape.channels, spaced(STRIP + LANES), 3) {
        for (int x = left - 1; x < left + STRIP + LANES - 1; ++x)
            places.emplace_back(std::clamp(x, 0, shape.width - 1), shape.width, low_shape.width);
    }

    // Resize row y of the low-resolution feature along the columns.
    void widen(int y, int columns) {
        float* to = low_rows.row(y);
        const float* from = low + int64_t(y) * low_shape.width;
        const int first = std::max(0, 1 - left), last = std::min(columns, shape.width - left + 1);
        for (int c = 0; c < shape.channels; ++c, from += low_shape.plane(), to += low_rows.width) {
            std::fill_n(to, low_rows.width, 0.0f);
            for (int x = first; x < last; ++x) {
                const Place& place = places[x];
                to[x] = from[place.before] + place.share * (from[place.after] - from[place.before]);
            }
        }
    }

    void resize_until(int y, int columns) {
        for (; resized_loaded < y; ++resized_loaded) {
            const int row = resized_loaded + 1;
            resized_rows.clear(row);
            if (row < 0 || row >= shape.height) continue;
            const Place place(row, shape.height, low_shape.height);
            if (low_loaded < place.before - 1) low_loaded = place.before - 1;
            while (low_loaded < place.after) widen(++low_loaded, columns);
            const float *above = low_rows.row(place.before), *below = low_rows.row(place.after);
            float* to = resized_rows.row(row);
            const Vec share = all(place.share);
            for (int c = 0; c < shape.channels; ++c)
                for (int x = c * resized_rows.width; x < c * resized_rows.width + columns; x += LANES) {
                    const Vec a = load(above + x);
                    store(to + x, a + share * (load(below + x) - a));
                }
        }
    }

    void query(int y, int columns, int width, float* to) {
        current = y;
        resize_until(y + 1, columns + LANES);
        for (int c = 0; c < shape.channels; ++c)
            for (int x = 0; x < columns; x += LANES) {
                Vec sum = all(query_conv.bias[c]);
                for (int dy = 0; dy < 3; ++dy)
                    for (int dx = 0; dx < 3; ++dx)
                        sum += query_conv.weight[c * 9 + dy * 3 + dx] *
                               load(resized_rows.row(y + dy - 1) + c * resized_rows.width + x + dx);
                store(to + c * width + x, sum);
            }
    }

    void key_and_value(int y, int radius, int columns, int width, float* key, float* value) {
        for (; warped_loaded < y + 1; ++warped_loaded)
            pack(warped, shape, warped_loaded + 1, left - radius - 1, columns + 2, warped_rows.width,
                 warped_rows.row(warped_loaded + 1));
        if (y < 0 || y >= shape.height) {  // no pixels, so no convolution either
            std::fill_n(key, size_t(shape.channels) * width, 0.0f);
            std::fill_n(value, size_t(shape.channels) * width, 0.0f);
            return;
        }
        const float* rows[3];
        for (int dy = 0; dy < 3; ++dy) rows[dy] = warped_rows.row(y + dy - 1);
        const int first = std::max(0, radius - left), last = std::min(columns, shape.width - left + radius);
        for (int c = 0; c < shape.channels; ++c, key += width, value += width) {
            const float *key_weight = key_conv.weight + c * 9, *value_weight = value_conv.weight + c * 9;
            for (int x = 0; x < columns; x += LANES) {
                Vec key_sum = all(key_conv.bias[c]), value_sum = all(value_conv.bias[c]);
                for (int dy = 0; dy < 3; ++dy)
                    for (int dx = 0; dx < 3; ++dx) {
                        const Vec pixel = load(rows[dy] + c * warped_rows.width + x + dx);
                        key_sum += key_weight[dy * 3 + dx] * pixel;
                        value_sum += value_weight[dy * 3 + dx] * pixel;
                    }
                store(key + x, key_sum);
                store(value + x, value_sum);
            }
            for (float* row : {key, value}) {
                std::fill(row, row + first, 0.0f);
                std::fill(row + last, row + width, 0.0f);
            }
        }
    }

    Vec residual(int c, int x) { return load(resized_rows.row(current) + c * resized_rows.width + x + 1); }
};

// ---- backward ----

constexpr int BACK_STRIP = 192;

// Gradients at a strip's pixels need the weights of pixels up to RADIUS beyond it, which are computed once more.
template <int K>
void backward_part(const float* query_map, const float* key_map, const float* value_map, const float* out_map,
                   const float* log_sum_exp, const float* grad_map, const Shape& shape, int left, int top, int bottom,
                   float* grad_query, float* grad_key, float* grad_value) {
    constexpr int RADIUS = K / 2, MARGIN = rounded(2 * RADIUS), PIXELS = spaced(BACK_STRIP + MARGIN);
    constexpr int WIDTH = spaced(BACK_STRIP + 2 * MARGIN), SUMS = spaced(BACK_STRIP);
    const int channels = shape.channels, columns = std::min(BACK_STRIP, shape.width - left), wide = rounded(columns);
    const int seen = wide + MARGIN;  // pixels whose windows reach into the strip
    Ring keys(channels, WIDTH, K), values(channels, WIDTH, K);
    Ring key_sums(channels, SUMS, K), value_sums(channels, SUMS, K);
    Buffer query(size_t(channels) * PIXELS), grad(size_t(channels) * PIXELS), out(size_t(channels) * PIXELS);
    Buffer weights(K * K * PIXELS), slopes(K * K * PIXELS);
    float row_log_sum_exp[PIXELS];
    for (int row = top - 2 * RADIUS; row < bottom + 2 * RADIUS; ++row) {
        pack(key_map, shape, row, left - 2 * RADIUS, seen + MARGIN, WIDTH, keys.row(row));
        pack(value_map, shape, row, left - 2 * RADIUS, seen + MARGIN, WIDTH, values.row(row));
        key_sums.clear(row);
        value_sums.clear(row);
        const int y = row - RADIUS;  // the last row that has its whole window
        if (y < top - RADIUS) continue;
        if (y >= 0 && y < shape.height) {
            pack(query_map, shape, y, left - RADIUS, seen, PIXELS, query.begin());
            pack(grad_map, shape, y, left - RADIUS, seen, PIXELS, grad.begin());
            pack(out_map, shape, y, left - RADIUS, seen, PIXELS, out.begin());
            pack(log_sum_exp, Shape{1, shape.height, shape.width}, y, left - RADIUS, seen, PIXELS, row_log_sum_exp);
            for (int dy = 0; dy < K; ++dy) {
                correlate<K>(query.begin(), PIXELS, keys.row(y + dy - RADIUS), WIDTH, channels, seen,
                             weights + dy * K * PIXELS, PIXELS);
                correlate<K>(grad.begin(), PIXELS, values.row(y + dy - RADIUS), WIDTH, channels, seen,
                             slopes + dy * K * PIXELS, PIXELS);
            }
            for (int x = 0; x < seen; x += LANES) {
                Vec expected = {};
                for (int c = 0; c < channels; ++c)
                    expected += load(grad + (c * PIXELS + x)) * load(out + (c * PIXELS + x));
                for (int s = 0; s < K * K; ++s) {
                    float *weight = weights + (s * PIXELS + x), *slope = slopes + (s * PIXELS + x);
                    const Vec w = exponential(load(weight) - load(row_log_sum_exp + x));
                    store(weight, w);
                    store(slope, w * (load(slope) - expected));
                }
            }
            if (y >= top && y < bottom) {
                const float* rows[K];
                for (int dy = 0; dy < K; ++dy) rows[dy] = keys.row(y + dy - RADIUS) + RADIUS;
                for (int x = 0; x < wide; x += LANES) {
                    float* to = grad_query + int64_t(y) * shape.width + left + x;
                    gather_channels<K>(slopes + RADIUS, PIXELS, rows, WIDTH, channels, x,
                                       [&](int c, Vec sum) { store_some(to + c * shape.plane(), sum, columns - x); });
                }
            }
            for (int dy = 0; dy < K; ++dy) {
                const int to = y + dy - RADIUS;
                if (to < top || to >= bottom) continue;
                scatter_channels<K>(slopes + dy * K * PIXELS, PIXELS, query.begin(), PIXELS, channels, wide,
                                    key_sums.row(to), SUMS);
                scatter_channels<K>(weights + dy * K * PIXELS, PIXELS, grad.begin(), PIXELS, channels, wide,
                                    value_sums.row(to), SUMS);
            }
        }
        const int done = y - RADIUS;
        if (done < top || done >= bottom) continue;
        for (int c = 0; c < channels; ++c) {
            const int64_t at = c * shape.plane() + int64_t(done) * shape.width + left;
            std::copy_n(key_sums.row(done) + c * SUMS, columns, grad_key + at);
            std::copy_n(value_sums.row(done) + c * SUMS, columns, grad_value + at);
        }
    }
}

template <int K>
void forward(const float* query, const float* key, const float* value, float* out, float* log_sum_exp,
             const Shape& shape, int threads) {
    const Parts parts(shape, STRIP);
    share(parts.count(), threads, [&](int item) {
        PlainSource source{query, key, value, shape, parts.left(item)};
        attend_part<K>(source, shape, parts.left(item), parts.top(item), parts.bottom(item), out, log_sum_exp);
    });
}

void fuse(const float* warped, const float* low, const float* const* convolutions, float* out, const Shape& shape,
          const Shape& low_shape, int threads) {
    constexpr int WINDOW = 7;
    const Parts parts(shape, STRIP);
    share(parts.count(), threads, [&](int item) {
        FusedSource source(warped, low, shape, low_shape, {convolutions[0], convolutions[1]},
                           {convolutions[2], convolutions[3]}, {convolutions[4], convolutions[5]}, parts.left(item),
                           parts.top(item), WINDOW / 2);
        attend_part<WINDOW>(source, shape, parts.left(item), parts.top(item), parts.bottom(item), out, nullptr);
    });
}

template <int K>
void backward(const float* query, const float* key, const float* value, const float* out, const float* log_sum_exp,
              const float* grad, float* grad_query, float* grad_key, float* grad_value, const Shape& shape,
              int threads) {
    const Parts parts(shape, BACK_STRIP);
    share(parts.count(), threads, [&](int item) {
        backward_part<K>(query, key, value, out, log_sum_exp, grad, shape, parts.left(item), parts.top(item),
                         parts.bottom(item), grad_query, grad_key, grad_value);
    });
}

}  // namespace

extern "C" {

int arseg_attention_forward(const float* query, const float* key, const float* value, float* out, float* log_sum_exp,
                            int channels, int height, int width, int window, int threads) {
    const Shape shape{channels, height, width};
    switch (window) {
        case 1: forward<1>(query, key, value, out, log_sum_exp, shape, threads); return 0;
        case 3: forward<3>(query, key, value, out, log_sum_exp, shape, threads); return 0;
        case 5: forward<5>(query, key, value, out, log_sum_exp, shape, threads); return 0;
        case 7: forward<7>(query, key, value, out, log_sum_exp, shape, threads); return 0;
        case 9: forward<9>(query, key, value, out, log_sum_exp, shape, threads); return 0;
        default: return 1;
    }
}

int arseg_attention_backward(const float* query, const float* key, const float* value, const float* out,
                             const float* log_sum_exp, const float* grad, float* grad_query, float* grad_key,
                             float* grad_value, int channels, int height, int width, int window, int threads) {
    const Shape shape{channels, height, width};
#define ARSEG_CASE(K)                                                                                                \
    case K:                                                                                                          \
        backward<K>(query, key, value, out, log_sum_exp, grad, grad_query, grad_key, grad_value, shape, threads);    \
        return 0;
    switch (window) {
        ARSEG_CASE(1) ARSEG_CASE(3) ARSEG_CASE(5) ARSEG_CASE(7) ARSEG_CASE(9)
        default: return 1;
    }
}

// `convolutions` holds weight and bias of query, key and value.
int arseg_creff(const float* warped, const float* low, const float* const* convolutions, float* out, int channels,
                int height, int width, int low_height, int low_width, int threads) {
    if (low_height < 1 || low_width < 1) return 1;
    fuse(warped, low, convolutions, out, Shape{channels, height, width}, Shape{channels, low_height, low_width},
         threads);
    return 0;
}

}  // extern "C"
