//! The UNet of a model: numbered attention sites, rows that do not depend on each other, guidance, and weights that
//! are stored in other forms.

use prompt_to_prompt::attention::{
    AttentionHook, AttentionKind, Carry, NoHook, Place, Site, SitePlan, Term,
};
use prompt_to_prompt::kernels::Packing;
use prompt_to_prompt::model::ModelFolder;

use super::kernels::{bits, distance, numbers};
use super::model::{fingerprint, fixtures, mini_sd, open};

#[test]
fn sites_are_numbered_in_order_of_execution() {
    let unet = mini_sd().unet;
    let sites = unet.sites((64, 40));
    assert_eq!(sites.len(), 2 * (2 + 2 + 1 + 3 + 3));
    assert!(sites.iter().enumerate().all(|(i, site)| site.index == i));
    assert!(
        sites
            .iter()
            .all(|s| (s.kind == AttentionKind::SelfAttn) == (s.index % 2 == 0))
    );
    let at = |i: usize| {
        (
            sites[i].place,
            sites[i].downscale,
            sites[i].grid,
            sites[i].heads,
        )
    };
    assert_eq!(at(0), (Place::Down, 2, (32, 20), 2));
    assert_eq!(at(8), (Place::Mid, 8, (8, 5), 2));
    assert_eq!(at(10), (Place::Up, 4, (16, 10), 2));
    assert_eq!(at(21), (Place::Up, 2, (32, 20), 2));
    assert_eq!(unet.config().layout_downscale(), 4);
}

#[test]
fn a_row_is_the_same_alone_and_on_any_number_of_threads() {
    for folder in ["storybook", fixtures().join("mini-sd").to_str().unwrap()] {
        let folder = ModelFolder::open(folder).unwrap();
        let (model, width) = (folder.load().unwrap(), folder.unet.cross_attention_dim);
        let (latents, context) = (numbers(&[3, 4, 16, 13], 1), numbers(&[3, 77, width], 2));
        let run = |threads, from, n| {
            let (x, c) = (
                latents.narrow(0, from, n).unwrap(),
                context.narrow(0, from, n).unwrap(),
            );
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let text = model.unet.read(&c).unwrap();
                bits(&model.unet.forward(&x, 500, &text, &mut NoHook).unwrap())
            })
        };
        let together = run(1, 0, 3);
        assert_eq!(together, run(2, 0, 3), "threads");
        let alone: Vec<u32> = (0..3).flat_map(|row| run(2, row, 1)).collect();
        assert_eq!(together, alone, "rows");
    }
}

/// Injects row 0's self-attention into all rows, at every site.
struct Injecting(Vec<Vec<Term>>);

impl AttentionHook for Injecting {
    fn plan(&self, site: &Site) -> SitePlan<'_> {
        match site.kind {
            AttentionKind::SelfAttn => SitePlan::Mix(&self.0),
            AttentionKind::Cross => SitePlan::Plain,
        }
    }
}

/// Both halves of guidance share the computation before any text, and small models compute both at once. Neither
/// changes a bit, whether or not a hook acts on the first self-attention.
#[test]
fn guided_halves_are_each_alone() {
    let from_first = || Term {
        map_of: 0,
        carry: Carry::Same,
    };
    for folder in ["storybook", fixtures().join("mini-sd").to_str().unwrap()] {
        let folder = ModelFolder::open(folder).unwrap();
        let (unet, width) = (folder.load().unwrap().unet, folder.unet.cross_attention_dim);
        let latents = numbers(&[2, 4, 15, 16], 1);
        let text = |seed| unet.read(numbers(&[2, 77, width], seed)).unwrap();
        let (uncond, cond) = (text(2), text(3));
        let inject = || Injecting(vec![vec![from_first()], vec![from_first()]]);
        let hooks: [&(dyn Fn() -> Box<dyn AttentionHook> + Sync); 2] =
            [&|| Box::new(NoHook), &|| Box::new(inject())];
        let mut seen = vec![];
        for hook in hooks {
            let alone = |text, hook: &mut dyn AttentionHook| {
                bits(&unet.forward(&latents, 500, text, hook).unwrap())
            };
            let expected = (alone(&uncond, &mut NoHook), alone(&cond, &mut *hook()));
            for threads in [1, 2, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                let both = pool
                    .unwrap()
                    .install(|| unet.forward_guided(&latents, 500, &uncond, &cond, &mut *hook()));
                let (uncond, cond) = both.unwrap();
                assert!(
                    (bits(&uncond), bits(&cond)) == expected,
                    "{threads} threads"
                );
            }
            seen.push(expected.1);
        }
        assert_ne!(seen[0], seen[1], "the hook did nothing");
    }
}

/// Weights in a smaller or a larger form than the default.
#[test]
fn low_memory_changes_no_bit_and_fast_little() {
    let folder = open(&fixtures().join("mini-sd")).unwrap();
    let made = |large_tiles, on_demand| {
        let model = folder
            .load_as(Packing {
                large_tiles,
                on_demand,
            })
            .unwrap();
        fingerprint(&model)
    };
    for large in [false, true] {
        for (early, on_demand) in made(large, false).iter().zip(made(large, true)) {
            assert_eq!(bits(early), bits(&on_demand));
        }
    }
    let (exact, fast) = (made(false, false), made(true, false));
    assert_ne!(
        bits(&exact[1]),
        bits(&fast[1]),
        "the large tiles did nothing"
    );
    // The model's attention is so sharp that rounding shows more than in other models.
    assert!(distance(&fast[1], &exact[1]) < 1e-2);
}
