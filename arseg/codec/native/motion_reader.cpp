#include "motion_reader.h"

#include <algorithm>
#include <new>
#include <string>
#include <vector>

#include "libde265/de265.h"
#include "libde265/decctx.h"
#include "libde265/image.h"
#include "libde265/motion.h"
#include "libde265/nal.h"
#include "libde265/slice.h"

namespace {

// A picture is not read beyond this side: motion in quarter pixels would no longer fit 16 bits.
constexpr int max_side = 8192;

// A function of any signature that does nothing: stands in for everything that only makes pixels.
template <class Function> struct no_pixels;
template <class... Arguments> struct no_pixels<void (*)(Arguments...)> {
    static void call(Arguments...) {}
};
template <class Function> void disable(Function &function) { function = no_pixels<Function>::call; }

void disable_reconstruction(acceleration_functions &f)
{
    disable(f.put_weighted_pred_avg_8);
    disable(f.put_weighted_pred_avg_16);
    disable(f.put_unweighted_pred_8);
    disable(f.put_unweighted_pred_16);
    disable(f.put_weighted_pred_8);
    disable(f.put_weighted_pred_16);
    disable(f.put_weighted_bipred_8);
    disable(f.put_weighted_bipred_16);
    disable(f.put_hevc_epel_8);
    disable(f.put_hevc_epel_16);
    disable(f.put_hevc_epel_h_8);
    disable(f.put_hevc_epel_h_16);
    disable(f.put_hevc_epel_v_8);
    disable(f.put_hevc_epel_v_16);
    disable(f.put_hevc_epel_hv_8);
    disable(f.put_hevc_epel_hv_16);
    for (auto &row : f.put_hevc_qpel_8)
        for (auto &function : row) disable(function);
    for (auto &row : f.put_hevc_qpel_16)
        for (auto &function : row) disable(function);
    disable(f.transform_bypass);
    disable(f.transform_bypass_rdpcm_v);
    disable(f.transform_bypass_rdpcm_h);
    disable(f.transform_skip_8);
    disable(f.transform_skip_16);
    disable(f.transform_skip_rdpcm_v_8);
    disable(f.transform_skip_rdpcm_h_8);
    disable(f.transform_skip_residual);
    disable(f.transform_4x4_dst_add_8);
    disable(f.transform_4x4_dst_add_16);
    for (auto &function : f.transform_add_8) disable(function);
    for (auto &function : f.transform_add_16) disable(function);
    disable(f.transform_idst_4x4);
    disable(f.transform_idct_4x4);
    disable(f.transform_idct_8x8);
    disable(f.transform_idct_16x16);
    disable(f.transform_idct_32x32);
    disable(f.rdpcm_v);
    disable(f.rdpcm_h);
    disable(f.add_residual_8);
    disable(f.add_residual_16);
}

bool means_damage(de265_error warning)
{
    // This one is said of whole pictures.
    return warning != DE265_WARNING_NO_WPP_CANNOT_USE_MULTITHREADING;
}

}  // namespace

struct motion_reader {
    de265_decoder_context *context = nullptr;
    bool waiting = true;
    std::string error;
    std::vector<uint8_t> mode;
    std::vector<int16_t> motion_qpel[2];
    std::vector<int32_t> ref_poc[2];

    motion_result fail(const std::string &what)
    {
        error = what;
        return MOTION_ERROR;
    }

    decoder_context &decoder() { return *static_cast<decoder_context *>(context); }
    void let_out_of_order();
    motion_result decode();
    motion_result describe(const de265_image &image, motion_picture &picture);
    motion_result read_blocks(const de265_image &image, motion_picture &picture);
};

// Lets pictures out as soon as they are decoded, in decode order: says of all that no other is to be shown before them.
void motion_reader::let_out_of_order()
{
    for (int index = 0; const de265_image *image = decoder().get_image(index); index++)
        if (image->has_vps())
            for (auto &layer : const_cast<video_parameter_set &>(image->get_vps()).layer) layer.vps_max_num_reorder_pics = 0;
}

motion_result motion_reader::decode()
{
    while (!waiting && !de265_peek_next_picture(context)) {
        int more = 0;
        const de265_error result = de265_decode(context, &more);
        let_out_of_order();
        waiting = result == DE265_ERROR_WAITING_FOR_INPUT_DATA || !more;
        if (result != DE265_OK && result != DE265_ERROR_WAITING_FOR_INPUT_DATA)
            return fail(de265_get_error_text(result));
    }
    for (de265_error warning; (warning = de265_get_warning(context)) != DE265_OK;)
        if (means_damage(warning)) return fail(de265_get_error_text(warning));
    return de265_peek_next_picture(context) ? MOTION_PICTURE : MOTION_NONE;
}

motion_result motion_reader::describe(const de265_image &image, motion_picture &picture)
{
    if (image.integrity != INTEGRITY_CORRECT || image.slices.empty())
        return fail("picture " + std::to_string(image.PicOrderCntVal) + " could not be decoded completely");
    const seq_parameter_set &sps = image.get_sps();
    if (sps.range_extension.extended_precision_processing_flag ||
        sps.range_extension.cabac_bypass_alignment_enabled_flag ||
        (sps.sps_extension_present_flag && sps.sps_extension_6bits))
        return fail("pictures are coded with extensions that are not read: extended precision, aligned bypass bins or "
                    "screen content");
    // The window's offsets count chroma samples (H.265, 7.4.3.2.1). Encoders pad on the right and at the bottom.
    if (sps.conf_win_left_offset || sps.conf_win_top_offset)
        return fail("pictures are cropped on the left or at the top; only on the right and at the bottom is read");
    picture.width = image.get_width() - sps.conf_win_right_offset * sps.SubWidthC;
    picture.height = image.get_height() - sps.conf_win_bottom_offset * sps.SubHeightC;
    if (picture.width <= 0 || picture.height <= 0 || std::max(picture.width, picture.height) > max_side)
        return fail("pictures of " + std::to_string(picture.width) + "x" + std::to_string(picture.height));
    picture.number = int32_t(de265_get_image_PTS(&image));
    picture.poc = image.PicOrderCntVal;
    picture.is_keyframe = isIRAP(image.nal_hdr.nal_unit_type);
    picture.is_reference = !isSublayerNonReference(image.nal_hdr.nal_unit_type);
    picture.kind = 'I';
    for (const slice_segment_header *slice : image.slices) {
        if (slice->slice_type == SLICE_TYPE_B) picture.kind = 'B';
        if (slice->slice_type == SLICE_TYPE_P && picture.kind == 'I') picture.kind = 'P';
    }
    return read_blocks(image, picture);
}

motion_result motion_reader::read_blocks(const de265_image &image, motion_picture &picture)
{
    picture.block_columns = (picture.width + MOTION_BLOCK_SIZE - 1) / MOTION_BLOCK_SIZE;
    picture.block_rows = (picture.height + MOTION_BLOCK_SIZE - 1) / MOTION_BLOCK_SIZE;
    const size_t num_blocks = size_t(picture.block_columns) * picture.block_rows;
    mode.assign(num_blocks, MOTION_INTRA);
    picture.num_lists = picture.kind == 'B' ? 2 : 1;
    for (int list = 0; list < picture.num_lists; list++) {
        motion_qpel[list].assign(2 * num_blocks, 0);
        ref_poc[list].assign(num_blocks, MOTION_NO_REFERENCE);
    }
    size_t block = 0;
    for (int row = 0; row < picture.block_rows; row++)
        for (int column = 0; column < picture.block_columns; column++, block++) {
            const int x = column * MOTION_BLOCK_SIZE, y = row * MOTION_BLOCK_SIZE;
            const PredMode predicted = image.get_pred_mode(x, y);
            // Under intra blocks the motion record is that of an older picture in the same buffer.
            if (predicted == MODE_INTRA) continue;
            mode[block] = predicted == MODE_SKIP ? MOTION_SKIP : MOTION_INTER;
            if (!image.is_SliceHeader_available(x, y)) return fail("a block belongs to no slice");
            const slice_segment_header &slice = *image.slices[image.get_SliceHeaderIndex(x, y)];
            const PBMotion &motion = image.get_mv_info(x, y);
            for (int list = 0; list < picture.num_lists; list++) {
                if (!motion.predFlag[list]) continue;
                const int index = motion.refIdx[list];
                const int length = list ? slice.num_ref_idx_l1_active : slice.num_ref_idx_l0_active;
                if (index < 0 || index >= length)
                    return fail("a block refers to entry " + std::to_string(index) + " of a list of " +
                                std::to_string(length));
                motion_qpel[list][2 * block] = motion.mv[list].x;
                motion_qpel[list][2 * block + 1] = motion.mv[list].y;
                ref_poc[list][block] = slice.RefPicList_POC[list][index];
            }
        }
    picture.mode = mode.data();
    for (int list = 0; list < picture.num_lists; list++) {
        picture.motion_qpel[list] = motion_qpel[list].data();
        picture.ref_poc[list] = ref_poc[list].data();
    }
    return MOTION_PICTURE;
}

const char *motion_library_version(void) { return de265_get_version(); }

motion_reader *motion_open(void)
{
    auto *reader = new (std::nothrow) motion_reader;
    if (!reader) return nullptr;
    reader->context = de265_new_decoder();
    if (!reader->context) {
        delete reader;
        return nullptr;
    }
    de265_set_parameter_bool(reader->context, DE265_DECODER_PARAM_DISABLE_DEBLOCKING, 1);
    de265_set_parameter_bool(reader->context, DE265_DECODER_PARAM_DISABLE_SAO, 1);
    disable_reconstruction(reader->decoder().acceleration);
    return reader;
}

void motion_close(motion_reader *reader)
{
    if (reader) de265_free_decoder(reader->context);
    delete reader;
}

void motion_push(motion_reader *reader, const uint8_t *data, size_t size, int32_t number)
{
    if (size) {
        de265_push_data(reader->context, data, int(size), number, nullptr);
        // Not "end of frame": that would also let out a picture of which further slices are to come.
        de265_push_end_of_NAL(reader->context);
    } else {
        de265_flush_data(reader->context);
    }
    reader->waiting = false;
}

motion_result motion_next(motion_reader *reader, motion_picture *picture)
{
    const motion_result result = reader->decode();
    if (result != MOTION_PICTURE) return result;
    return reader->describe(*de265_get_next_picture(reader->context), *picture);
}

const char *motion_error(const motion_reader *reader) { return reader->error.c_str(); }
