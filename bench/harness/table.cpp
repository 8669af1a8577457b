#include "harness/table.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <random>
#include <vector>

#include <fmt/format.h>

#include "progress.hpp"

namespace bench {

namespace {

constexpr std::array<std::string_view, 3> party_names = {"heft", "yardstick", "peer"};

template <class F>
auto median_of(const std::vector<Sample>& samples, F value) {
  std::vector<decltype(value(samples[0]))> values;
  for (const Sample& s : samples) values.push_back(value(s));
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double median_seconds(const Row& row) {
  return median_of(row.samples, [](const Sample& s) { return s.seconds; });
}

double median_ratio(const Row& row, const Row& reference) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < std::min(row.samples.size(), reference.samples.size()); ++i)
    ratios.push_back(reference.samples[i].seconds / row.samples[i].seconds);
  std::sort(ratios.begin(), ratios.end());
  return ratios.empty() ? 0 : ratios[ratios.size() / 2];
}

Memory median_memory(const Row& row, Memory Sample::*which) {
  const auto of = [&](std::uint64_t Memory::*member) {
    return median_of(row.samples, [&](const Sample& s) { return s.*which.*member; });
  };
  return {of(&Memory::resident), of(&Memory::anonymous), of(&Memory::file)};
}

Counters median_counters(const Row& row) {
  const auto of = [&](std::uint64_t Counters::*member) {
    return median_of(row.samples, [&](const Sample& s) { return s.used.*member; });
  };
  return {of(&Counters::processor_nanoseconds), of(&Counters::minor_faults), of(&Counters::major_faults),
          of(&Counters::process_read), of(&Counters::device_read)};
}

void divide(Sample& sample, unsigned repeats) {
  sample.seconds /= repeats;
  sample.bytes /= repeats;
  sample.used.processor_nanoseconds /= repeats;
}

void run_row(Row& row, const Watch& watch, unsigned repeats, bool keep) {
  if (!row.failure.empty()) return;
  try {
    Sample sample = run_child(row.command, watch);
    row.failure = sample.failure;
    row.absent = sample.absent;
    divide(sample, repeats);
    if (row.failure.empty() && keep) row.samples.push_back(std::move(sample));
  } catch (const std::exception& error) {
    row.failure = error.what();
  }
  if (!row.failure.empty()) row.samples.clear();
}

std::string seconds_text(double seconds) {
  if (seconds >= 1) return fmt::format("{:.3f} s", seconds);
  return seconds >= 1e-3 ? fmt::format("{:.2f} ms", seconds * 1e3) : fmt::format("{:.1f} us", seconds * 1e6);
}

std::string megabytes(std::uint64_t bytes) { return fmt::format("{:.1f}", static_cast<double>(bytes) / 1e6); }

std::string short_label(const Row& row) {
  const std::string label =
      row.party == Party::heft ? row.label : fmt::format("{}{}", row.party == Party::peer ? "peer: " : "", row.label);
  return label.size() <= 34 ? label : label.substr(0, 34);
}

std::string line_of(const Row& row, const Row* reference, bool copies) {
  if (!row.failure.empty())
    return fmt::format("{:<34} {}: {:.70}\n", short_label(row), row.absent ? "absent" : "failed", row.failure);
  const Summary s = summarize(row, reference);
  const std::string ratio = s.ratio == 0 ? "" : fmt::format("{:.2f}{}", s.ratio, &row == reference ? "*" : " ");
  const double processor = static_cast<double>(s.used.processor_nanoseconds) / 1e9;
  return fmt::format("{:<34} {:>9} {:>9} {:>6} {:>6} {:>8} {:>8} {:>8} {:>7} {:>6} {:>8}\n", short_label(row),
                     seconds_text(s.seconds), seconds_text(processor),
                     copies ? fmt::format("{:.2f}", s.gigabytes_per_second) : "", ratio, megabytes(s.peak.resident),
                     megabytes(s.peak.anonymous), megabytes(s.peak.file), s.used.minor_faults, s.used.major_faults,
                     megabytes(s.used.process_read));
}

void to_json(const Memory& memory, JsonWriter& out) {
  out.open('{')
      .member("resident", memory.resident)
      .member("anonymous", memory.anonymous)
      .member("file", memory.file)
      .close('}');
}

void to_json(const Sample& sample, JsonWriter& out) {
  out.open('{').member("seconds", sample.seconds).member("bytes", sample.bytes).member("note", sample.note);
  out.key("baseline"), to_json(sample.baseline, out);
  out.key("peak"), to_json(sample.peak, out);
  out.member("processor_seconds", static_cast<double>(sample.used.processor_nanoseconds) / 1e9);
  out.member("minor_faults", sample.used.minor_faults).member("major_faults", sample.used.major_faults);
  out.member("process_read_bytes", sample.used.process_read).member("device_read_bytes", sample.used.device_read);
  if (!sample.timeline.empty()) {
    out.key("timeline").open('[');
    for (const Moment& m : sample.timeline)
      out.open('[')
          .number(m.seconds)
          .number(m.memory.resident)
          .number(m.memory.anonymous)
          .number(m.memory.file)
          .close(']');
    out.close(']');
  }
  out.close('}');
}

void to_json(const Row& row, const Row* reference, JsonWriter& out) {
  out.open('{').member("label", row.label).member("party", party_names[static_cast<std::size_t>(row.party)]);
  if (row.failure.empty() && !row.samples.empty()) {
    const Summary s = summarize(row, reference);
    out.member("seconds", s.seconds).member("fastest", s.fastest).member("slowest", s.slowest);
    out.member("gigabytes_per_second", s.gigabytes_per_second).member("ratio", s.ratio);
  } else {
    out.member(row.absent ? "absent" : "failed", row.failure);
  }
  out.key("samples").open('[');
  for (const Sample& sample : row.samples) to_json(sample, out);
  out.close(']').close('}');
}

}  // namespace

void run(Table& table, const RunOptions& options) {
  const Device device(table.files.empty() ? "/" : table.files.front().path);
  Watch watch{&device, {}, options.interval_seconds, options.keep_timeline};
  if (table.state) watch.before_go = [&table] { set_cache_state(*table.state, table.files); };
  const unsigned warm_up = table.state ? 0 : 1;  // without a wanted state, an uncounted round fills the page cache
  Progress progress(table.title, (warm_up + options.rounds) * table.rows.size());
  // Each round runs the rows in another order, because a run affects the next one: the host has just backed its memory,
  // or reclaimed it.
  std::vector<std::size_t> order(table.rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::mt19937 random;  // with the default seed: the same orders in every run of the bench
  for (unsigned round = 0; round < warm_up + options.rounds; ++round) {
    std::shuffle(order.begin(), order.end(), random);
    for (const std::size_t number : order) {
      run_row(table.rows[number], watch, table.repeats, round >= warm_up);
      progress.add(1);
    }
  }
}

const Row* reference_of(const Table& table) {
  const Row* best = nullptr;
  for (const Row& row : table.rows)
    if (row.reference && !row.samples.empty() && (best == nullptr || median_seconds(row) < median_seconds(*best)))
      best = &row;
  return best;
}

Summary summarize(const Row& row, const Row* reference) {
  Summary s;
  s.seconds = median_seconds(row);
  const auto by_time = [](const Sample& a, const Sample& b) { return a.seconds < b.seconds; };
  s.fastest = std::min_element(row.samples.begin(), row.samples.end(), by_time)->seconds;
  s.slowest = std::max_element(row.samples.begin(), row.samples.end(), by_time)->seconds;
  s.gigabytes_per_second = static_cast<double>(row.samples.front().bytes) / s.seconds / 1e9;
  s.ratio = reference == nullptr ? 0 : median_ratio(row, *reference);
  s.baseline = median_memory(row, &Sample::baseline);
  s.peak = median_memory(row, &Sample::peak);
  s.used = median_counters(row);
  return s;
}

std::string to_text(const Table& table) {
  const Row* reference = reference_of(table);
  std::string out = fmt::format("\n{}\n{}\n{:<34} {:>9} {:>9} {:>6} {:>6} {:>8} {:>8} {:>8} {:>7} {:>6} {:>8}\n",
                                table.title, table.question, "", "median", "processor", table.copies ? "GB/s" : "",
                                "ratio", "peak MB", "anon MB", "file MB", "minor", "major", "disk MB");
  for (const Row& row : table.rows) out += line_of(row, reference, table.copies);
  for (const std::string& note : table.notes) out += note + "\n";
  return out;
}

void to_json(const Table& table, JsonWriter& out) {
  const Row* reference = reference_of(table);
  out.open('{').member("title", table.title).member("question", table.question);
  out.member("page_cache", table.state ? name(*table.state) : std::string_view("as it was"));
  out.member("file_bytes", std::accumulate(table.files.begin(), table.files.end(), std::uint64_t{0},
                                           [](std::uint64_t sum, const Extent& file) { return sum + file.bytes; }));
  out.member("reference", reference == nullptr ? std::string_view() : std::string_view(reference->label));
  out.key("rows").open('[');
  for (const Row& row : table.rows) to_json(row, reference, out);
  out.close(']').key("notes").open('[');
  for (const std::string& note : table.notes) out.text(note);
  out.close(']').close('}');
}

}  // namespace bench
